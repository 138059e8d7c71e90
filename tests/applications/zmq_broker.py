"""ZmqBroker: the broker of this library, from the interfaces and keys that the application has in its store."""

import json
import os
from pathlib import Path

from eis.msgbus.broker import Broker, read

store = Path(os.environ["CONFIGMGR_SOURCE"])
interfaces = json.loads(store.read_text())["/ZmqBroker/interfaces"]
config = store.with_name("broker.json")
config.write_text(json.dumps({"interfaces": interfaces}))
with Broker(read([config], None if os.environ["DEV_MODE"] == "True" else store)) as broker:
    print("ready", flush=True)
    broker.wait()
