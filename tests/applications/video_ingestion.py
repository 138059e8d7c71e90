"""VideoIngestion, as the original's is written: frames on the first topic of its publisher, commands to its service."""

import threading

import cfgmgr.config_manager as cfg
import eii.msgbus as mb

FRAMES, WIDTH, HEIGHT = 20, 480, 270

ctx = cfg.ConfigMgr()
publisher_cfg, server_cfg = ctx.get_publisher_by_name("default"), ctx.get_server_by_name("default")
commands = mb.MsgbusContext(server_cfg.get_msgbus_config())
service = commands.new_service(server_cfg.get_interface_value("Name"))
started = threading.Event()


def serve() -> None:
    for request in service:
        if request.get_meta_data()["command"] == "START_INGESTION":
            started.set()
        service.response({"reply_payload": {"status_code": 0, "err": "", "return_values": ""}})


handler = threading.Thread(target=serve)
handler.start()
msgbus = mb.MsgbusContext(publisher_cfg.get_msgbus_config())
publisher = msgbus.new_publisher(publisher_cfg.get_topics()[0])
publisher.wait_for_subscribers(1, timeout=30_000)
assert started.wait(30)
for number in range(ctx.get_app_config()["frames"]):
    frame = bytes([number]) * (WIDTH * HEIGHT * 3)
    handle = f"{number:010x}"
    meta_data = {"img_handle": handle, "width": WIDTH, "height": HEIGHT, "channels": 3, "frame_number": number}
    publisher.publish((meta_data, frame))
msgbus.close()
commands.close()
handler.join(30)
