"""Waiting as blocking programs do, and the clock."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from eis.msgbus.exceptions import MessageBusError

__all__ = ["Deadline", "Spinning", "Stirring", "Wakeup", "poll", "poller", "wait"]

T = TypeVar("T")

Sleep = Callable[[Sequence[int], float | None], bool]
"""Wait for descriptors, as `poll` does."""


class Stirring(Protocol):
    """Have descriptors of which one becomes readable when it is worth to try again."""

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors."""


class Deadline:
    """Carry one time limit through many steps. `seconds` is None for no limit."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds that are left, never below 0; None for no limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


class Wakeup:
    """Be a descriptor that any thread can make readable.

    Raises:
        MessageBusError: the process has no descriptor left.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.is_set = False
        try:
            self._reader, self._writer = socket.socketpair()
        except OSError as error:
            raise MessageBusError(f"cannot open a descriptor (raise ulimit -n): {error.strerror}") from error
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._reader.fileno()

    def set(self) -> None:
        """Make the descriptor readable."""
        with self._lock:
            if not self.is_set and self._writer.fileno() >= 0:
                self.is_set = True
                self._writer.send(b"\0")

    def clear(self) -> None:
        """Make the descriptor quiet again."""
        if self.is_set:
            with self._lock, contextlib.suppress(BlockingIOError, OSError):
                self.is_set = False
                self._reader.recv(16)

    def close(self) -> None:
        """Close the descriptor."""
        with self._lock:
            self._reader.close()
            self._writer.close()


def wait(
    channel: Stirring,
    attempt: Callable[[], T | None],
    seconds: float | None,
    *,
    tried: bool = False,
    sleep: Sleep | None = None,
) -> T | None:
    """Call `attempt` until it returns something, waiting for the channel in between; None: nothing came in time.

    `seconds` is None for no limit. `tried` says that an attempt has just failed, so that this one begins with the wait.
    `sleep` is what waits, instead of `poll`.
    Signals run their handlers, and the wait goes on (KeyboardInterrupt ends it). What `attempt` raises passes through.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        if not tried and (result := attempt()) is not None:
            return result
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return None
        (sleep or poll)(channel.filenos(), left)
        tried = False


_LONGEST = 0.5  # seconds; a signal that comes just before a system call is noticed after it, and every wait tries again


if sys.platform == "win32":

    def poll(filenos: Sequence[int], seconds: float | None) -> bool:
        """Wait until one of the descriptors is readable; say whether one is."""
        return bool(select.select(filenos, (), (), _bounded(seconds))[0])

    def poller(filenos: Sequence[int]) -> Callable[[float | None], bool]:
        """Return `poll` for these descriptors."""
        return lambda seconds: poll(filenos, seconds)

else:
    _idle: dict[tuple[int, ...], select.poll] = {}  # of earlier waits; who waits takes his out: two cannot share it
    _MOST_IDLE = 64

    def poll(filenos: Sequence[int], seconds: float | None) -> bool:
        """Wait until one of the descriptors is readable; say whether one is."""
        key = tuple(filenos)
        poller = _idle.pop(key, None) or _registered(key)
        found = poller.poll(_bounded(seconds) * 1000)
        if len(_idle) >= _MOST_IDLE:
            _idle.clear()
        _idle[key] = poller
        return bool(found)

    def poller(filenos: Sequence[int]) -> Callable[[float | None], bool]:
        """Return `poll` for these descriptors."""
        poller = _registered(filenos)
        return lambda seconds: bool(poller.poll(_bounded(seconds) * 1000))

    def _registered(filenos: Sequence[int]) -> select.poll:
        poller = select.poll()
        for fileno in filenos:
            poller.register(fileno, select.POLLIN)
        return poller


class Spinning:
    """Wait as `poll` does; but where news come at once, look for them a moment before going to sleep.

    To sleep and be woken takes a thread longer than a peer needs that answers at once. Whoever else is to run goes
    first; where that takes long, the processor is needed, and the next waits sleep.
    """

    def __init__(self) -> None:
        self._quick = 0  # waits in a row that were short; below 0: so many are to sleep however short they are

    def __call__(self, filenos: Sequence[int], seconds: float | None) -> bool:
        """Wait until one of the descriptors is readable; say whether one is."""
        start = time.monotonic()
        found = (self._quick >= _OFTEN and self._spin(filenos, start)) or poll(filenos, seconds)
        if found and time.monotonic() - start < _SHORT:
            self._quick += 1
        else:
            self._quick = min(self._quick, 0)
        return found

    def _spin(self, filenos: Sequence[int], start: float) -> bool:
        now = start
        while now - start < _SHORT and _give_way is not None:
            if poll(filenos, 0):
                return True
            _give_way()
            now = time.monotonic()
        if now - start > _TURN:
            self._quick = -_MANY
        return False


_SHORT = 200e-6  # seconds; an exchange between two processes takes about 100 microseconds
_OFTEN = 8  # short waits, before the next one spins
_TURN = 1e-3  # seconds that somebody else runs for; ZeroMQ's threads take less
_MANY = 2000  # short waits, before the next one may spin and lose such a turn again
_give_way: Callable[[], object] | None = getattr(os, "sched_yield", None)  # Windows has none: there nobody spins


def _bounded(seconds: float | None) -> float:
    return _LONGEST if seconds is None or seconds > _LONGEST else seconds
