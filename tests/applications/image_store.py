"""ImageStore, as the original's is written: a service that hands out frames by their handle, until its input ends."""

import sys
import threading

import cfgmgr.config_manager as cfg
import eii.msgbus as mb

FRAMES = {"a1b2c3d4e5": b"\x22" * 6_220_800}

ctx = cfg.ConfigMgr()
server_cfg = ctx.get_server_by_name("ImageStore")
msgbus = mb.MsgbusContext(server_cfg.get_msgbus_config())
service = msgbus.new_service("ImageStore")


def serve() -> None:
    for request in service:
        handle = request.get_meta_data()["img_handle"]
        if handle in FRAMES:
            service.response([{"img_handle": handle}, FRAMES[handle]])
        else:
            service.response({"error": f"no frame {handle}"})


handler = threading.Thread(target=serve)
handler.start()
sys.stdin.read()
msgbus.close()
handler.join(30)
