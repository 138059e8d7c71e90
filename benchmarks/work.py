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
"""Open one side of a contender. A module-level function, so that a new process can import it."""

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


def frames() -> list[Any]:
    """Return images in BGR, 6.2 MB each, with different content."""
    return [np.full(SHAPE, number, np.uint8) for number in range(FRAMES_IN_TURN)]


def touch(blob: Any) -> int:
    """Look at one byte of every page."""
    return int(np.frombuffer(blob, np.uint8)[::4096].sum())


def ticks(count: int, rate: int) -> Iterator[None]:
    """Yield `count` times at an even pace."""
    pause = threading.Event()
    start = time.monotonic()
    for number in range(count):
        pause.wait(max(0.0, start + number / rate - time.monotonic()))
        yield
