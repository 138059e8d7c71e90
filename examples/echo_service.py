"""Answer each request with what it asked, until Ctrl-C."""

import argparse

import eis.msgbus as mb

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("config", help="JSON or TOML file with the configuration of the bus")
parser.add_argument("-n", "--service-name", default="echo_service", help="name of the service (default: %(default)s)")
args = parser.parse_args()

try:
    with mb.MsgbusContext(args.config) as bus, bus.new_service(args.service_name) as service:
        print(f"[INFO] Service {args.service_name} is running...", flush=True)
        for request in service:
            print(f"[INFO] Received {request.meta_data}", flush=True)
            service.response(request)
except KeyboardInterrupt:
    print("[INFO] Quitting...")
except mb.MsgbusException as error:
    parser.exit(1, f"[ERROR] {error}\n")
