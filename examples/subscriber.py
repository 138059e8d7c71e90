"""Print the messages of a topic, until Ctrl-C."""

import argparse
import json
import os
import time

import eis.msgbus as mb

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("config", help="JSON or TOML file with the configuration of the bus")
parser.add_argument("-t", "--topic", default="publish_test", help="topic to subscribe to (default: %(default)s)")
args = parser.parse_args()

bus = None
subscriber = None

try:
    print("[INFO] Opening the message bus", flush=True)
    bus = mb.MsgbusContext(args.config)

    print(f"[INFO] Opening the subscriber of topic {args.topic} in process {os.getpid()}", flush=True)
    subscriber = bus.new_subscriber(args.topic)

    print("[INFO] Running...", flush=True)
    while True:
        envelope = subscriber.recv()
        meta_data, size = envelope.meta_data, sum(len(view) for view in envelope.views)
        now = time.strftime("%H:%M:%S")
        print(f"[INFO] {now} Received {envelope.name}: {json.dumps(meta_data)} and {size} bytes", flush=True)
except KeyboardInterrupt:
    print("[INFO] Quitting...")
except mb.MsgbusException as error:
    parser.exit(1, f"[ERROR] {error}\n")
finally:
    if subscriber is not None:
        subscriber.close()
    if bus is not None:
        bus.close()
