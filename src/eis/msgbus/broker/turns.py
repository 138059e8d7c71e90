"""A lock whose owner gives way: one thread has it nearly always, others when they need it. Knows no socket."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Turns"]

_LONGEST = 0.1  # seconds; who waits has the lock long before, unless a signal ended it in between


class Turns:
    """Be the lock of the broker's sockets.

    The broker's own thread works under `own`, and calls `give_way` in between. Whoever else enters has `hurry` called,
    which makes that thread let go, if it cannot have the lock at once.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self.own = threading.RLock()
        self._hurry = hurry
        self._changed = threading.Condition()
        self._waiting = 0

    def __enter__(self) -> None:
        if self.own.acquire(blocking=False):
            return
        self._wait(1)
        self.hurry()
        try:
            self.own.acquire()
        finally:
            self._wait(-1)

    def __exit__(self, *_: object) -> None:
        self.own.release()

    def hurry(self) -> None:
        """Make the broker's thread let go; one thread at a time asks for it."""
        with self._changed:
            self._hurry()

    def give_way(self) -> None:
        """Let everybody in who waits; without it the lock would often go back to the thread that has just freed it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, _LONGEST)

    def _wait(self, count: int) -> None:
        with self._changed:
            self._waiting += count
            self._changed.notify_all()
