"""What is to be logged once a lock is given back. Does not know what it says.

A handler of `logging` has a lock of its own, and may publish: who logged with the lock of a publisher in hand, while
another thread's handler publishes, would wait for it, and it for the lock.
"""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable

__all__ = ["Afterwards", "Say", "at_once"]

Say = Callable[..., None]
"""Take a method of a logger, and what to call it with."""


def at_once(log: Callable[..., object], *facts: object) -> None:
    """Log now, where no lock is held that somebody may wait for."""
    log(*facts)


class Afterwards:
    """Keep what is said, until `tell` logs it. Whoever calls `tell` holds no lock."""

    def __init__(self) -> None:
        self.said: deque[Callable[[], object]] = deque()

    def say(self, log: Callable[..., object], *facts: object) -> None:
        """Have this logged soon."""
        self.said.append(functools.partial(log, *facts))

    def tell(self) -> None:
        """Log all that was said."""
        with contextlib.suppress(IndexError):  # another thread may log the rest
            while True:
                self.said.popleft()()
