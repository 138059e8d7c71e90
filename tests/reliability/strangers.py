"""Clients that must not get in: bare ZeroMQ sockets with wrong keys, and bare TCP connections that speak ZMTP badly."""

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import zmq
from zmq.utils.monitor import recv_monitor_message

from tests.transports.zmq.helpers import CLIENT, SERVER, STRANGER, client_keys

__all__ = ["GREETINGS", "WRONG", "Attempt", "Options", "Steps", "curve", "greeting", "knock", "shout"]

Options = dict[str, bytes | int]
_END = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_END |= zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_PATIENCE = 10.0  # seconds


def curve(public: str = CLIENT.public, secret: str = CLIENT.secret, server: str = SERVER.public) -> Options:
    """Return the options of a client with these keys."""
    names = ("curve_serverkey", "curve_publickey", "curve_secretkey")
    return dict(zip(names, (server.encode(), public.encode(), secret.encode()), strict=True))


_STRANGER = client_keys(STRANGER)
WRONG: dict[str, Options] = {
    "unlisted": curve(STRANGER.public, STRANGER.secret),
    "no keys": {},
    "another server's key": curve(server=STRANGER.public),
    "no pair": curve(CLIENT.public, STRANGER.secret),
    "PLAIN": {"plain_username": b"viewer", "plain_password": b"viewer"},
}

SUBSCRIBE_2 = b"\x00\x01\x01"  # to everything, as a message of ZMTP 2
SUBSCRIBE_3 = b"\x04\x0a\x09SUBSCRIBE"
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"


def greeting(mechanism: bytes, *, server: bool = False) -> bytes:
    """Return what begins a connection of ZMTP 3.1."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes([server]) + bytes(31)


Steps = tuple[tuple[int, bytes], ...]
"""What is said, and how many bytes have to be heard before."""

GREETINGS: dict[str, Steps] = {
    "ZMTP 1": ((0, b"\x01\x00" + b"\x02\x00\x01"),),
    "ZMTP 2": ((0, b"\xff" + bytes(8) + b"\x7f\x01\x02\x00\x00" + SUBSCRIBE_2),),
    "NULL": ((0, greeting(b"NULL")), (64, READY), (66, SUBSCRIBE_2)),
    "READY instead of HELLO": ((0, greeting(b"CURVE")), (64, READY), (66, SUBSCRIBE_2)),
    "SUBSCRIBE instead of HELLO": ((0, greeting(b"CURVE")), (64, SUBSCRIBE_2 + SUBSCRIBE_3)),
    "everything at once": ((0, greeting(b"CURVE") + READY + SUBSCRIBE_2 + SUBSCRIBE_3),),
}


class Attempt:
    """Connect once, as a SUB socket of everything (or another kind), and see what comes of it."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, options: Options, kind: int) -> None:
        self.socket = context.socket(kind)
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self.socket.linger = 0
        for name, value in options.items():
            setattr(self.socket, name, value)
        if kind == zmq.SUB:
            self.socket.subscribe(b"")
        self._events = self.socket.get_monitor_socket(_END)
        self._events.rcvtimeo = round(_PATIENCE * 1000)
        self._begun = time.monotonic()
        self.socket.connect(address)

    def outcome(self) -> tuple[bool, float]:
        """Tell whether it got in, and after how many seconds that was known."""
        event = recv_monitor_message(self._events)["event"]
        return event == zmq.EVENT_HANDSHAKE_SUCCEEDED, time.monotonic() - self._begun

    def received(self) -> int:
        """Return how many frames came."""
        count = 0
        with contextlib.suppress(zmq.Again):
            while True:
                self.socket.recv(zmq.NOBLOCK)
                count += 1
        return count

    def close(self) -> None:
        self.socket.disable_monitor()
        self._events.close()
        self.socket.close()


@contextmanager
def knock(
    context: "zmq.Context[zmq.Socket[bytes]]", address: str, options: Options, kind: int = zmq.SUB
) -> Iterator[Attempt]:
    """Try to get in."""
    attempt = Attempt(context, address, options, kind)
    try:
        yield attempt
    finally:
        attempt.close()


def shout(port: int, says: Steps, enough: bytes = b"\0" * 99) -> tuple[bytes, float]:
    """Say something to a port; return what comes back until it hangs up or `enough` came, and how long that took."""
    begun, heard, left = time.monotonic(), b"", list(says)
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as peer, contextlib.suppress(ConnectionError):
        while enough not in heard:
            while left and len(heard) >= left[0][0]:
                peer.sendall(left.pop(0)[1])
            if not (data := peer.recv(65536)):
                break
            heard += data
    return heard, time.monotonic() - begun
