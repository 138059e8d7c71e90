"""The same work for every contender: what is sent, and how much of it the receiver looks at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from benchmarks.place import Place

Work = Callable[[int], list[int] | None]
"""Do so many messages; return their times in nanoseconds if times are what is measured."""

Role = Callable[[Place], AbstractContextManager[Work]]
"""Open one side of a contender. A module-level function or a partial of one, so that a new process can import it."""


class NotOfferedError(Exception):
    """Say that this contender has no such thing here: it is told in the table, and is no failure."""


SMALL_RATE, FRAME_RATE = 1000, 30  # messages per second where the time of one way is measured
SHAPE = (1080, 1920, 3)
FRAMES_IN_TURN = 5  # more than are outstanding, so that none is in flight twice
WARNING_TIME = 20_000  # milliseconds after which a peer is thought dead


def small_message() -> dict[str, Any]:
    """Return the small message: about 110 bytes of JSON."""
    return {
        "frame_number": 123456,
        "timestamp": 1700000000.123456,
        "camera": "camera1",
        "width": 1920,
        "height": 1080,
        "ok": True,
    }


def frames(shape: tuple[int, ...] = SHAPE) -> list[Any]:
    """Return images with different content: in BGR, 6.2 MB each, if nothing else is asked for."""
    return [np.full(shape, number, np.uint8) for number in range(FRAMES_IN_TURN)]


def touch(blob: Any) -> int:
    """Look at one byte of every page."""
    return int(np.frombuffer(blob, np.uint8)[::4096].sum())


def glance(blob: Any) -> int:
    """Look at the first byte and the last."""
    view = memoryview(blob).cast("B")
    return int(view[0]) + int(view[-1])


def ticks(count: int, rate: float) -> Iterator[None]:
    """Yield `count` times at an even pace."""
    pace = Pace(rate)
    for _ in range(count):
        pace.wait()
        yield


class Pace:
    """Keep an even pace, from one call of a work to the next."""

    def __init__(self, rate: float) -> None:
        self._period = 1 / rate
        self._due = 0.0
        self._pause = threading.Event()

    def wait(self) -> None:
        """Wait until a period has passed since the last time; who is late begins anew."""
        now = time.monotonic()
        self._due = max(self._due, now)
        self._pause.wait(self._due - now)
        self._due += self._period
