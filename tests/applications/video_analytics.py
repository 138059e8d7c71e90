"""VideoAnalytics, as the original's is written: frames of VideoIngestion go on with defects."""

import cfgmgr.config_manager as cfg
import eii.msgbus as mb

ctx = cfg.ConfigMgr()
publisher_cfg, subscriber_cfg = ctx.get_publisher_by_name("default"), ctx.get_subscriber_by_name("default")
out, source = mb.MsgbusContext(publisher_cfg.get_msgbus_config()), mb.MsgbusContext(subscriber_cfg.get_msgbus_config())
publisher = out.new_publisher(publisher_cfg.get_topics()[0])
publisher.wait_for_subscribers(1, timeout=30_000)
subscriber = source.new_subscriber(subscriber_cfg.get_topics()[0])
for _ in range(ctx.get_app_config()["frames"]):
    meta_data, blob = subscriber.recv(timeout=30_000)
    meta_data["defects"] = [{"type": 1, "tl": [0, 0], "br": [blob[0], 9]}]
    publisher.publish((meta_data, blob))
subscriber.close()
publisher.close()
out.close()
