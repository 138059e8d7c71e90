"""The right to touch a socket, at the price of two dictionary operations. Does not know what the socket does.

A lock and its `try` cost a publisher as much as a frame, and between `acquire()` and `try` a signal handler may raise
and leave the lock behind. Deleting a key is atomic too, and Python looks for signals after calls, not after it:

    free = turn.free
    try:
        del free[0]
    except KeyError:
        turn.take()
    try:
        ...
    finally:
        free[0] = None
        del free
        if turn.awaited:
            turn.moved.set()

Everybody else says `with turn:`, as often inside of each other as they like.
"""

from __future__ import annotations

import inspect
import threading
from types import FrameType

from eis.msgbus.exceptions import MessageBusError

__all__ = ["Turn"]

_LOOK_AGAIN = 0.001  # seconds; a release may fall between a waiter's look and its wait


class Turn:
    """Let one thread in at a time, and refuse a signal handler that interrupts its own thread inside."""

    __slots__ = ("_depth", "_line", "_owner", "awaited", "free", "moved")

    def __init__(self) -> None:
        self.free: dict[int, None] = {0: None}
        self.moved = threading.Event()
        self.awaited = False
        self._line = threading.RLock()
        self._owner: int | None = None  # of a `with`
        self._depth = 0

    def take(self) -> None:
        """Wait until it is free.

        Raises:
            MessageBusError: the caller is a signal handler that interrupts whoever has it.
        """
        if self._taken():
            return
        if self.interrupted():
            raise MessageBusError("in use: a signal handler cannot use what the signal interrupted")
        with self._line:
            self.awaited = True
            try:
                while not self._taken():
                    self.moved.wait(_LOOK_AGAIN)
                    self.moved.clear()
            finally:
                self.awaited = False

    def _taken(self) -> bool:
        try:
            del self.free[0]
        except KeyError:
            return False
        return True

    def interrupted(self) -> bool:
        """Tell whether this thread has the turn already: whoever asks interrupts it, from a signal handler."""
        frame = _above(4)  # not the caller itself: it only wants the turn
        while frame is not None:
            if frame.f_code.co_name == "send" and frame.f_locals.get("free") is self.free:
                return True
            frame = frame.f_back
        return self._owner == threading.get_ident()

    def __enter__(self) -> None:
        if self._owner == threading.get_ident():
            self._depth += 1
            return
        self.take()
        self._owner, self._depth = threading.get_ident(), 1

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self.free[0] = None
            if self.awaited:
                self.moved.set()


def _above(steps: int) -> FrameType | None:
    """Return the frame so many calls above this one."""
    frame = inspect.currentframe()
    while frame is not None and steps:
        frame, steps = frame.f_back, steps - 1
    return frame
