"""When each message of a recording is due. No messages, no waiting."""

from __future__ import annotations

from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.recording.message import Recorded

__all__ = ["Timeline"]

_LARGEST = 1_000_000_000
"""Nanoseconds by which a publisher's clock may run away from the recorder's, before the recorder's is believed."""

_LONGEST = 366 * 24 * 3600 * 1_000_000_000
"""Nanoseconds between two messages that somebody may have recorded."""


class Timeline:
    """Give messages the rhythm in which they were published, `speed` times as fast; 0: all at once.

    Each topic keeps the intervals of its publisher's clock. The clocks of two machines may differ by hours, so what
    comes first of a topic comes when it was received; and again where its clock was set.
    """

    def __init__(self, speed: float) -> None:
        self._scale = 1e-9 / speed if speed else 0.0
        self._ahead: dict[str, int] = {}
        self._start: int | None = None
        self._last = 0
        self._base = self._due = self._interval = 0.0

    def due(self, message: Recorded) -> float:
        """Return the seconds from the first message to this one.

        Raises:
            MessageBusError: it came more than a year after the one before it.
        """
        at = self._received(message)
        if self._start is None:
            self._start = self._last = at
        if at - self._last > _LONGEST:
            raise MessageBusError(
                f"a recorded message of {message.topic!r} is damaged: expected it within a year of the one before it, "
                f"got {(at - self._last) / 1e9:.0f} s"
            )
        self._last = max(self._last, at)
        due = max(self._due, self._base + (at - self._start) * self._scale)
        self._interval, self._due = due - self._due, due
        return due

    def again(self) -> None:
        """Begin anew, as long after the last message as that came after the one before it."""
        self._ahead.clear()
        self._start = None
        self._base = self._due = self._due + self._interval

    def _received(self, message: Recorded) -> int:
        """Return when it would have been received if its way had always been as long as that of the topic's first."""
        at = message.publish_time + self._ahead.get(message.topic, 0)
        if message.topic in self._ahead and abs(at - message.log_time) < _LARGEST:
            return at
        self._ahead[message.topic] = message.log_time - message.publish_time
        return message.log_time
