"""Who subscribes to what: counted; and where topics are listed, granted. Does not know what is published."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import zmq

from eis.msgbus.transports.zmq.door import Door
from eis.msgbus.transports.zmq.link import LAST, Link
from eis.msgbus.transports.zmq.reading import int_option

__all__ = ["GrantedSubscriptions", "Subscriptions"]

_POLLIN = int(zmq.POLLIN)
_SUBSCRIBE, _UNSUBSCRIBE = b"\1", b"\0"
AT_MOST = 50_000  # frames at a time, some 30 ms: a peer that never stops to send some does not keep the lock
_MOST_BYTES = 100_000  # of the subscriptions of one client; libzmq needs some 85 times as much
_EACH = 20


class Subscriptions:
    """Count the subscriptions that libzmq grants by itself. Whoever calls holds the lock of the socket."""

    def __init__(self, recv: Callable[..., Any]) -> None:
        self._recv = recv
        self._granted: Counter[bytes] = Counter()

    def count(self, name: bytes) -> int:
        """Return how many subscriptions messages with this name frame have."""
        return sum(count for prefix, count in self._granted.items() if name.startswith(prefix))

    def read(self) -> bool:
        """Take the news out of the socket; tell whether there were any."""
        read = 0
        with contextlib.suppress(zmq.Again):
            while read < AT_MOST:
                self._count(self._recv(LAST))
                read += 1
        return read > 0

    def _count(self, frame: bytes) -> None:
        if frame[:1] == _SUBSCRIBE:
            self._granted[frame[1:]] += 1
        elif frame[:1] == _UNSUBSCRIBE:
            self._discount(frame[1:])

    def _discount(self, prefix: bytes) -> None:
        if self._granted[prefix] > 1:
            self._granted[prefix] -= 1
        else:
            del self._granted[prefix]


class Peer(NamedTuple):
    """Tell one connection from all others, also after its descriptor has become that of another."""

    descriptor: int
    inode: int

    @property
    def gone(self) -> bool:
        """Tell whether it is closed."""
        return not self.inode or _inode(self.descriptor) != self.inode


class GrantedSubscriptions(Subscriptions):
    """Grant a subscription if the client may have it (ZMQ_XPUB_MANUAL).

    libzmq grants to whom the frame that was read last came from. It loses count of whose that is when a client sends
    what no subscriber sends: then nothing is granted until all has been read, the client is barred, and everybody
    connects and subscribes anew. The same happens to a client with more subscriptions than are good for the memory.
    """

    def __init__(self, recv: Callable[..., Any], link: Link, door: Door) -> None:
        super().__init__(recv)
        self._link = link
        self._door = door
        self._events = int_option(link.socket, zmq.EVENTS)
        self._held: dict[bytes, dict[Peer, tuple[str, bool]]] = {}  # by prefix: of which client, and whether granted
        self._bytes: Counter[str] = Counter()
        self._in_step = True
        self._reading = False

    def read(self) -> bool:
        """Grant and refuse what was asked for since the last time; tell whether there was anything."""
        if self._reading or not self._events() & _POLLIN:  # reading: a signal handler publishes meanwhile
            return False
        self._reading = True
        try:
            self._read_all()
        except BaseException:  # a signal handler's, such as KeyboardInterrupt: what was read may not be granted yet
            self._link.cut()
            raise
        finally:
            self._reading = False
        return True

    def _read_all(self) -> None:
        try:
            for _ in range(AT_MOST):
                self._take(self._recv(LAST, copy=False))
        except zmq.Again:
            self._in_step = True

    def _take(self, frame: zmq.Frame) -> None:
        name, kind, prefix = _user(frame), frame.bytes[:1], frame.bytes[1:]
        if name is None:
            self._leave(prefix)  # the connection is closed: libzmq itself unsubscribes
        elif kind not in (_SUBSCRIBE, _UNSUBSCRIBE):
            self._break_off(name, "sent what no subscriber sends")
        elif self._in_step and kind == _SUBSCRIBE:
            self._subscribe(name, _peer(frame), prefix)
        elif self._in_step:
            self._unsubscribe(_peer(frame), prefix)

    def _subscribe(self, name: str, peer: Peer, prefix: bytes) -> None:
        holders = self._held.setdefault(prefix, {})
        if peer in holders:
            return
        granted = self._door.may_subscribe(name, prefix)
        holders[peer] = name, granted
        self._bytes[name] += len(prefix) + _EACH
        if granted:
            self._granted[prefix] += 1
            self._set(zmq.SUBSCRIBE, prefix)
        if self._bytes[name] > _MOST_BYTES:
            self._break_off(name, "subscribed to too much")

    def _unsubscribe(self, peer: Peer, prefix: bytes) -> None:
        if peer in self._held.get(prefix, {}) and self._release(prefix, peer):
            self._set(zmq.UNSUBSCRIBE, prefix)

    def _set(self, option: int, prefix: bytes) -> None:
        with contextlib.suppress(zmq.ZMQError):  # the client is gone
            self._link.socket.set(option, prefix)

    def _leave(self, prefix: bytes) -> None:
        if holders := self._held.get(prefix):
            self._release(prefix, next((peer for peer in holders if peer.gone), next(iter(holders))))

    def _release(self, prefix: bytes, peer: Peer) -> bool:
        """Forget one subscription; tell whether it was granted."""
        holders = self._held[prefix]
        name, granted = holders.pop(peer)
        self._bytes[name] -= len(prefix) + _EACH
        if not holders:
            del self._held[prefix]
        if not self._bytes[name]:
            del self._bytes[name]
        if granted:
            self._discount(prefix)
        return granted

    def _break_off(self, name: str, why: str) -> None:
        self._in_step = False
        self._door.bar(name, why)
        self._link.cut()


def _user(frame: zmq.Frame) -> str | None:
    """Return the name that access control gave who sent it; None: libzmq did."""
    with contextlib.suppress(zmq.ZMQError):
        return str(frame.get("User-Id"))
    return None


def _peer(frame: zmq.Frame) -> Peer:
    descriptor = int(frame.get(zmq.SRCFD))
    return Peer(descriptor, _inode(descriptor))


def _inode(descriptor: int) -> int:
    """Return what the system tells a socket by; 0: it is closed, or (Windows) not told."""
    with contextlib.suppress(OSError):
        return os.fstat(descriptor).st_ino
    return 0
