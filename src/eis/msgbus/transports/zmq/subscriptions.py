"""Count who subscribes to what. Does not know what is published."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from eis.msgbus._wire.native import PLAIN
from eis.msgbus.transports.zmq.calls import LAST
from eis.msgbus.transports.zmq.topics import Topics

__all__ = ["AT_MOST", "SUBSCRIBE", "UNSUBSCRIBE", "Subscriptions"]

SUBSCRIBE, UNSUBSCRIBE = b"\1", b"\0"
"""With what the frame begins that says so."""

AT_MOST = 5_000
"""Frames at a time: a peer that never stops to send subscriptions does not keep the lock."""


class Subscriptions:
    """Count the subscriptions that libzmq grants by itself. Whoever calls holds the lock of the socket."""

    def __init__(self, recv: Callable[..., Any], topics: Topics) -> None:
        self._recv = recv
        self._topics = topics
        self._granted: Counter[bytes] = Counter()

    def wanted(self, name: bytes) -> Iterator[bytes]:
        """Yield the form of each subscription that messages with this name frame have."""
        for prefix, count in self._granted.items():
            if name.startswith(prefix):
                yield from (PLAIN,) * count

    def read(self) -> bool:
        """Take the news out of the socket; tell whether there were any."""
        read = 0
        with contextlib.suppress(zmq.Again):
            while read < AT_MOST:
                self._count(self._recv(LAST))
                read += 1
        return read > 0

    def _count(self, frame: bytes) -> None:
        prefix = frame[1:]
        if frame[:1] == SUBSCRIBE:
            self._granted[prefix] += 1
            self._topics.want(prefix, PLAIN, 1)
        elif frame[:1] == UNSUBSCRIBE and self._granted[prefix]:
            self._granted[prefix] -= 1
            self._topics.want(prefix, PLAIN, -1)
            if not self._granted[prefix]:
                del self._granted[prefix]
