"""The loops around a contender that only says how it sends one message and how it receives: pace, frames, times.

A call of Python for each message is what this costs: 0.12 microseconds in the sender, 0.15 in the receiver, measured.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec

from benchmarks.place import Place
from benchmarks.work import SHAPE, WARNING_TIME, Pace, Work, frames, glance, small_message, touch

Send = Callable[[dict[str, Any], Any], object]
"""Send a message with an image, or with None."""

Take = Callable[[dict[str, Any], Any], None]
"""Do with a message and its image (None: it has none) what a receiver does."""

OpenSender = Callable[[Place, int], AbstractContextManager[Send]]
"""Open the sending side, for images of so many bytes, 0 for none; wait for the subscribers."""

OpenReceiver = Callable[[Place, Take], AbstractContextManager[Callable[[int], None]]]
"""Open the receiving side; what is returned waits for so many messages, each of which was given to `take`."""

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclasses.dataclass(frozen=True)
class Load:
    """Say what is sent: images of which shape (none: small messages), and how many messages per second (0: any)."""

    shape: tuple[int, ...] = ()
    pace: int = 0
    every_page: bool = True  # the receiver touches every page of an image; else only its first and last byte


SMALL, FRAME = Load(), Load(SHAPE)


@contextmanager
def sender(opener: OpenSender, load: Load, place: Place) -> Iterator[Work]:
    """Send what the load says, each message with the time where the load has a pace."""
    message = small_message()
    images = frames(load.shape) if load.shape else [None]
    pace = Pace(load.pace or math.inf)
    with opener(place, 0 if images[0] is None else images[0].nbytes) as send:

        def work(count: int) -> None:
            for number in range(count):
                image = images.pop(0)
                images.append(image)
                message["frame_number"] = number
                if load.pace:
                    pace.wait()
                    message["sent"] = time.monotonic_ns()
                send(message, image)

        yield work


@contextmanager
def receiver(opener: OpenReceiver, load: Load, place: Place) -> Iterator[Work]:
    """Receive what the load says, and return how long each message was on its way where the load has a pace."""
    times: list[int] = []
    look = touch if load.every_page else glance

    def take(message: dict[str, Any], image: Any) -> None:
        if image is not None:
            look(image)
        if load.pace:
            times.append(time.monotonic_ns() - message["sent"])

    with opener(place, take) as wait_for:

        def work(count: int) -> list[int]:
            wait_for(count)
            taken = times[:]
            times.clear()
            return taken

        yield work


class Arrivals:
    """Count what a thread of the peer's library brings, and let the process wait for it."""

    def __init__(self) -> None:
        self._seen = self._expected = 0
        self._enough = threading.Event()

    def add(self) -> None:
        """Count one, in the peer's thread."""
        self._seen += 1
        if self._seen >= self._expected:
            self._enough.set()

    def wait_for(self, count: int) -> None:
        """Wait for so many more."""
        self._expected += count
        while self._seen < self._expected:
            self._enough.clear()
            if self._seen < self._expected and not self._enough.wait(WARNING_TIME / 1000):
                raise TimeoutError(f"{self._expected - self._seen} messages did not come")
