"""Whether a guarded port refuses a stranger: knock once, with a key that nobody knows. Does not know who is listed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from eis.msgbus import keys
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.door import Door
from eis.msgbus.transports.zmq.monitor import read_event

__all__ = ["demand_refusal"]

_PATIENCE = 2000  # milliseconds; some 3 are needed
_NOT_LISTED = 400
_PEERS: dict[int, int] = {zmq.XPUB: zmq.SUB, zmq.XSUB: zmq.PUB, zmq.ROUTER: zmq.REQ}
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_EVENTS = int(_FAILURES | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_SUCCEEDED)


def demand_refusal(kind: int, endpoint: str, server_public: str, door: Door) -> None:
    """Connect as a stranger to the socket of this kind that listens at `endpoint`, and see that refused.

    Raises:
        MessageBusError: it does anything else.
    """
    stranger = keys.new_key_pair()
    door.throw_away = keys.bits(stranger.public)
    with _knocking(_PEERS[kind], _reachable(endpoint), server_public, stranger) as events:
        if not events.poll(_PATIENCE):
            raise _problem(endpoint, f"nothing within {_PATIENCE} ms")
        event = read_event(events)
    if event != (zmq.EVENT_HANDSHAKE_FAILED_AUTH, _NOT_LISTED):
        raise _problem(endpoint, f"{zmq.Event(event.kind).name} {event.value}")


def _problem(endpoint: str, got: str) -> MessageBusError:
    return MessageBusError(f"{endpoint} does not refuse strangers: expected ZAP status {_NOT_LISTED}, got {got}")


@contextmanager
def _knocking(kind: int, endpoint: str, server_public: str, stranger: keys.KeyPair) -> Iterator[zmq.Socket[bytes]]:
    """Connect in a context of its own; return what tells how that goes."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = context.socket(kind)
        socket.set(zmq.IPV6, int("[" in endpoint))
        socket.set(zmq.CURVE_SERVERKEY, server_public.encode())
        socket.set(zmq.CURVE_PUBLICKEY, stranger.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, stranger.secret.encode())
        events = socket.get_monitor_socket(_EVENTS)
        socket.connect(endpoint)
        yield events
        socket.disable_monitor()
    finally:
        context.destroy(linger=0)


def _reachable(endpoint: str) -> str:
    """Return where a program on this machine connects to reach what listens at `endpoint`."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    if not address.is_unspecified:
        return endpoint
    return f"tcp://127.0.0.1:{port}" if address.version == 4 else f"tcp://[::1]:{port}"
