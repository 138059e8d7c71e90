"""WebVisualizer, as the original's is written: a context and a subscriber for each entry; here it prints what came."""

import json

import cfgmgr.config_manager as cfg
import eii.msgbus as mb

ctx = cfg.ConfigMgr()
for index in range(ctx.get_num_subscribers()):
    sub_ctx = ctx.get_subscriber_by_index(index)
    msgbus = mb.MsgbusContext(sub_ctx.get_msgbus_config())
    subscriber = msgbus.new_subscriber(sub_ctx.get_topics()[0])
    for _ in range(ctx.get_app_config()["frames"]):
        msg = subscriber.recv(timeout=30_000)
        meta_data, blob = msg
        print(json.dumps([msg.get_name(), meta_data, len(blob), blob[0]]), flush=True)
    subscriber.close()
