"""Send a request, and print the reply."""

import argparse

import eis.msgbus as mb

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("config", help="JSON or TOML file with the configuration of the bus")
parser.add_argument("-n", "--service-name", default="echo_service", help="name of the service (default: %(default)s)")
parser.add_argument("--timeout", type=float, default=5000, help="milliseconds to wait (default: %(default)s)")
args = parser.parse_args()

try:
    with mb.MsgbusContext(args.config) as bus, bus.get_service(args.service_name) as requester:
        print(f"[INFO] Asking {args.service_name}", flush=True)
        reply = requester.request({"hello": "world", "number": 42}, timeout=args.timeout)
        print(f"[INFO] Reply: {reply.meta_data}", flush=True)
except KeyboardInterrupt:
    print("[INFO] Quitting...")
except mb.MsgbusException as error:
    parser.exit(1, f"[ERROR] {error}\n")
