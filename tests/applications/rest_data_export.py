"""RestDataExport, as the original's is written: it asks the ImageStore for two frames, and prints what came."""

import json

import cfgmgr.config_manager as cfg
import eii.msgbus as mb

ctx = cfg.ConfigMgr()
client_cfg = ctx.get_client_by_name("ImageStore")
msgbus = mb.MsgbusContext(client_cfg.get_msgbus_config())
client = msgbus.get_service("ImageStore")
for handle in ("a1b2c3d4e5", "unknown"):
    client.request({"command": "read", "img_handle": handle})
    meta_data, blob = client.recv(timeout=30_000)
    print(json.dumps([meta_data, None if blob is None else [len(blob), blob[:1].hex()]]), flush=True)
client.close()
