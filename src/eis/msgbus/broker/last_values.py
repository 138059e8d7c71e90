"""The last message of each topic, for who comes late: so many topics, so many bytes. Knows no socket, and no right."""

from __future__ import annotations

import logging
from collections import OrderedDict

import zmq

from eis.msgbus._wire import Frames
from eis.msgbus._wire.frames import HEADER, MAX_PARTS
from eis.msgbus.broker.settings import LastValue
from eis.msgbus.broker.stats import LastValueStats
from eis.msgbus.transports.zmq.door import Seldom

__all__ = ["LastValues"]

_log = logging.getLogger("eis.msgbus.broker")

_COPIED = 8192  # bytes; a smaller frame keeps the whole buffer of libzmq in which it came
_MOST_FRAMES = HEADER + MAX_PARTS  # what has more is no message, and small frames take far more memory than bytes


class LastValues:
    """Keep the last message of every topic that begins as `settings` say; what came longest ago makes room."""

    def __init__(self, settings: LastValue) -> None:
        self.prefixes = tuple(topic.encode() for topic in settings.topics)
        self._most, self._most_bytes = settings.max_topics, settings.max_bytes
        self._kept: OrderedDict[bytes, tuple[Frames, int]] = OrderedDict()
        self._bytes = self._given = self._forgotten = self._missed = 0
        self._seldom, self._seldom_missed = Seldom(), Seldom()

    def keep(self, frames: Frames) -> None:
        """Keep a message in place of the one before; forget others if there is no room."""
        name = frames[0]
        if not name.startswith(self.prefixes) or len(frames) > _MOST_FRAMES:
            return
        size = sum(map(len, frames))
        self._drop(name)
        if size <= self._most_bytes:
            self._kept[name] = tuple(map(_kept, frames)), size
            self._bytes += size
        else:
            self._forget(name)
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            oldest = next(iter(self._kept))
            self._drop(oldest)
            self._forget(oldest)

    def newest(self, prefix: bytes) -> Frames | None:
        """Return the message of the topic with this name; if there is none, the newest whose topic begins so."""
        exact = prefix + b"\0"
        names = (exact,) if exact in self._kept else (name for name in reversed(self._kept) if name.startswith(prefix))
        return next((self._kept[name][0] for name in names), None)

    def given(self) -> None:
        """Count a message that was given to who came late."""
        self._given += 1

    def missed(self, name: bytes) -> None:
        """Count a message that could not be given to who came late."""
        self._missed += 1
        if (more := self._seldom_missed()) is not None:
            text = "the last value of %r is not given to a new subscriber: it left, the queue is full, or many come%s"
            _log.warning(text, _topic(name), more)

    @property
    def stats(self) -> LastValueStats:
        """Return what is kept, and what was counted."""
        return LastValueStats(len(self._kept), self._bytes, self._given, self._forgotten, self._missed)

    def _drop(self, name: bytes) -> None:
        if name in self._kept:
            self._bytes -= self._kept.pop(name)[1]

    def _forget(self, name: bytes) -> None:
        self._forgotten += 1
        if (more := self._seldom()) is not None:
            text = "the last value of %r is not kept: there is room for %d topics and %d bytes (last_value)%s"
            _log.warning(text, _topic(name), self._most, self._most_bytes, more)


def _kept(frame: bytes | zmq.Frame) -> bytes | zmq.Frame:
    return frame.bytes if isinstance(frame, zmq.Frame) and len(frame) < _COPIED else frame


def _topic(name: bytes) -> str:
    return name.removesuffix(b"\0").decode(errors="replace")
