"""What was received and is not written yet: a queue that is bounded in bytes. Knows no bus and no file."""

from __future__ import annotations

import threading
from collections import Counter, deque

from eis.msgbus.recording.message import Recorded

__all__ = ["Backlog"]

_LONGEST = 512  # bytes of a topic, as publishers take them
_MOST = 10_000  # topics whose losses are told apart, of a publisher that makes up names
_OTHERS = "(others)"


class Backlog:
    """Hand messages from the threads that receive to the one that writes.

    `put` never waits: a message that has no room is dropped and counted, and so is one whose topic is longer than the
    bus lets topics be. After `count` messages no more are taken. `dropped` counts by topic; those that have too long a
    name, or came when 10,000 others were counted, together.
    """

    def __init__(self, limit: int, count: int | None) -> None:
        self.dropped: Counter[str] = Counter()
        self._limit = limit
        self._left = count
        self._last = 0
        self._waiting: deque[Recorded] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = threading.Condition()

    def put(self, message: Recorded) -> bool:
        """Take a message, and give it a log time of its own; tell whether more are wanted."""
        with self._changed:
            if self._ended:
                return False
            if len(message.topic.encode()) > _LONGEST or (self._waiting and not self._has_room(message)):
                self._drop(message)
                return True
            self._last = max(message.log_time, self._last + 1)
            self._waiting.append(message._replace(log_time=self._last))
            self._bytes += message.memory
            if self._left is not None:
                self._left -= 1
                self._ended = self._left == 0
            self._changed.notify()
            return not self._ended

    def drop(self, message: Recorded) -> None:
        """Count a message that was taken and cannot be written."""
        with self._changed:
            self._drop(message)

    def get(self, seconds: float) -> Recorded | None:
        """Return the oldest message, None if none comes in that time or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, seconds)
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            self._bytes -= message.memory
            return message

    @property
    def ended(self) -> bool:
        """Tell whether no more messages are taken."""
        return self._ended

    @property
    def drained(self) -> bool:
        """Tell whether no more messages are taken and none is left."""
        return self._ended and not self._waiting

    def end(self) -> None:
        """Take no more messages."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def discard(self) -> None:
        """Take no more messages; drop what is left, and count it."""
        with self._changed:
            for message in self._waiting:
                self._drop(message)
            self._waiting.clear()
        self.end()

    def _has_room(self, message: Recorded) -> bool:
        return self._bytes + message.memory <= self._limit

    def _drop(self, message: Recorded) -> None:
        topic = message.topic
        known = topic in self.dropped or (len(topic.encode()) <= _LONGEST and len(self.dropped) < _MOST)
        self.dropped[topic if known else _OTHERS] += 1
