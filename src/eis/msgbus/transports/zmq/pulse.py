"""Whether messages still come over a connection. Does not know what to do when they do not."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pulse"]

_LOOKS = 5  # in the time after which a connection is stalled
_SHORTEST = 0.005  # seconds between two looks


class Pulse:
    """Look at a number that changes with every message, now and then. For one thread.

    `seconds` is how long it may stay the same; `progress` returns it, or None while messages wait to be taken.
    """

    def __init__(self, seconds: float, progress: Callable[[], int | None]) -> None:
        self.due: float | None = None  # when to look next; None: there is no connection
        self._seconds = seconds
        self._between = max(_SHORTEST, seconds / _LOOKS)
        self._progress = progress
        self._seen: int | None = None
        self._since = 0.0

    def begin(self) -> None:
        """Begin with a new connection."""
        self._seen = None
        self.due = time.monotonic() + self._between

    def end(self) -> None:
        """Stop: the connection is lost."""
        self.due = None

    def look(self) -> bool:
        """Tell whether messages come."""
        now, seen = time.monotonic(), self._progress()
        self.due = now + self._between
        if seen is None or seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since < self._seconds
