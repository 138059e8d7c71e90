"""The fast way through a broker: libzmq's own proxy, which no message leaves. Knows no topic, no right, no count."""

from __future__ import annotations

import contextlib
import time

import zmq

from eis.msgbus.broker.turns import Turns
from eis.msgbus.transports.zmq.link import Link

__all__ = ["Proxying"]


class Proxying:
    """Run libzmq's proxy between two sockets; it ends between two messages when others need the sockets."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._control, self._steering = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self._control.bind("inproc://msgbus-broker")
        self._steering.connect("inproc://msgbus-broker")
        self.turns = Turns(self._terminate)

    def _terminate(self) -> None:
        with contextlib.suppress(zmq.ZMQError):  # more than enough wait there already, or it is closed
            self._steering.send(b"TERMINATE", zmq.NOBLOCK)

    def begin(self, frontend: Link, backend: Link) -> None:
        """Take the sockets of the two sides."""
        self._frontend, self._backend = frontend.socket, backend.socket
        self._backend.set(zmq.XPUB_VERBOSER, 0)  # publishers are told the first subscription and the last end of each
        self._backend.set(zmq.XPUB_NODROP, 0)  # or else the proxy waits for who does not read: nothing could end it

    def work(self) -> None:
        """Carry messages and subscriptions until somebody else needs the sockets. The caller holds the lock."""
        zmq.proxy_steerable(self._frontend, self._backend, None, self._control)

    def rest(self) -> None:
        """Wait for nothing: the proxy does."""

    def finish(self, seconds: float) -> None:
        """Carry what has come, at most for so long. The caller holds the lock."""
        end = time.monotonic() + seconds
        with contextlib.suppress(zmq.Again):
            while time.monotonic() < end:
                self._backend.send_multipart(self._frontend.recv_multipart(zmq.NOBLOCK, copy=False), copy=False)

    def close(self) -> None:
        """Close what steers the proxy."""
        self._control.close(linger=0)
        self._steering.close(linger=0)
