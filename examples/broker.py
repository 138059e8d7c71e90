"""Connect publishers that are brokered with their subscribers: plain ZeroMQ, without keys."""

import argparse

import zmq

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("frontend", help="where publishers connect: tcp://127.0.0.1:3003 or ipc://sockets/frontend")
parser.add_argument("backend", help="where subscribers connect: tcp://127.0.0.1:3004 or ipc://sockets/backend")
args = parser.parse_args()

context = zmq.Context()
with context.socket(zmq.XSUB) as frontend, context.socket(zmq.XPUB) as backend:
    frontend.bind(args.frontend)
    backend.bind(args.backend)
    print(f"[INFO] Broker between {args.frontend} and {args.backend}", flush=True)
    try:
        zmq.proxy(frontend, backend)
    except KeyboardInterrupt:
        print("[INFO] Quitting...")
