"""SWTriggerUtility, as the original's is written: it tells VideoIngestion to start, and prints the answer."""

import json

import cfgmgr.config_manager as cfg
import eii.msgbus as mb

ctx = cfg.ConfigMgr()
client_cfg = ctx.get_client_by_index(0)
msgbus = mb.MsgbusContext(client_cfg.get_msgbus_config())
client = msgbus.get_service(client_cfg.get_interface_value("Name"))
client.request({"command": "START_INGESTION"})
print(json.dumps(client.recv(timeout=30_000).get_meta_data()), flush=True)
client.close()
