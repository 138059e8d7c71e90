"""ZmqBroker, in plain ZeroMQ: one list of keys for both of its sides, as the original's."""

from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

import cfgmgr.config_manager as cfg

ctx = cfg.ConfigMgr()
frontend_cfg = ctx.get_subscriber_by_name("frontend").get_msgbus_config()
backend_cfg = ctx.get_publisher_by_name("backend").get_msgbus_config()
context = zmq.Context()


class Allowed:
    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002  # pyzmq's contract
        return key.decode() in frontend_cfg["allowed_clients"]


def bound(kind: int, side: dict[str, Any], name: str) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    if secret := side[name].get("server_secret_key"):
        socket.curve_server, socket.curve_secretkey = True, secret.encode()
    socket.bind(f"tcp://{side[name]['host']}:{side[name]['port']}")
    return socket


if "allowed_clients" in frontend_cfg:
    authenticator = ThreadAuthenticator(context, encoding="utf-8")
    authenticator.start()
    authenticator.configure_curve_callback("*", credentials_provider=Allowed())
frontend, backend = bound(zmq.XSUB, frontend_cfg, ""), bound(zmq.XPUB, backend_cfg, "zmq_tcp_publish")
print("ready", flush=True)
zmq.proxy(frontend, backend)
