"""Publish metadata and a blob once a second, until Ctrl-C."""

import argparse
import json
import os
import time

import eis.msgbus as mb

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("config", help="JSON or TOML file with the configuration of the bus")
parser.add_argument("-t", "--topic", default="publish_test", help="topic to publish (default: %(default)s)")
args = parser.parse_args()

bus = None
publisher = None

try:
    print("[INFO] Opening the message bus", flush=True)
    bus = mb.MsgbusContext(args.config)

    print(f"[INFO] Opening the publisher of topic {args.topic}", flush=True)
    publisher = bus.new_publisher(args.topic)

    print("[INFO] Waiting for a subscriber", flush=True)
    publisher.wait_for_subscribers()

    print("[INFO] Running...", flush=True)
    number, due = 0, time.monotonic()
    while True:
        number, due = number + 1, due + 1.0
        meta_data = {"number": number, "process": os.getpid(), "sent_at": time.time()}
        blob = bytes(10)
        publisher.publish((meta_data, blob))
        print(f"[INFO] Published {json.dumps(meta_data)} and {len(blob)} bytes", flush=True)
        time.sleep(max(0.0, due - time.monotonic()))  # noqa: TID251  # the pace of the messages; waits for nobody
except KeyboardInterrupt:
    print("[INFO] Quitting...")
except mb.MsgbusException as error:
    parser.exit(1, f"[ERROR] {error}\n")
finally:
    if publisher is not None:
        publisher.close()
    if bus is not None:
        bus.close()
