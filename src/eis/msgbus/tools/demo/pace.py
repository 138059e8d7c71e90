"""When the next frame is due. No messages, no waiting."""

import math
import time
from collections.abc import Callable

_PATIENCE = 1.0
"""Seconds of delay that are made up for: a busy machine's hiccup, not a source that is too slow."""


class Pace:
    """Set deadlines at `rate` per second (None: always now), until `seconds` are over (None: for ever)."""

    def __init__(self, rate: float | None, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._period = 1 / rate if rate else 0.0
        self._clock = clock
        self._due = clock()
        self._end = self._due + (math.inf if seconds is None else seconds)

    def delay(self) -> float | None:
        """Return the seconds until the next frame is due, or None when it would be too late.

        A source that is late catches up; one that fell behind by more than a second goes on from now.
        """
        now = self._clock()
        if now - self._due > _PATIENCE:
            self._due = now
        due, self._due = self._due, self._due + self._period
        return None if due >= self._end - 1e-6 else max(0.0, due - now)
