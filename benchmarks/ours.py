"""The bus, used as its tutorial shows. `without` names what is switched off: native streams, shared memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import eis.msgbus as mb
from benchmarks.place import NAME, Place
from benchmarks.work import WARNING_TIME, NotOfferedError, Work, frames, small_message, touch
from eis.msgbus import aio


@contextmanager
def publisher(place: Place, *, without: str = "") -> Iterator[mb.Publisher]:
    """Open a publisher, and wait for its subscribers."""
    with _context(place.server(), without=without) as bus, bus.new_publisher(NAME) as publisher:
        publisher.wait_for_subscribers(place.subscribers, WARNING_TIME)
        yield publisher


@contextmanager
def subscriber(place: Place, *, without: str = "") -> Iterator[mb.Subscriber[Any]]:
    """Open a subscriber."""
    with _context(place.client(), without=without) as bus, bus.new_subscriber(NAME) as subscriber:
        yield subscriber


def _context(config: dict[str, Any], *, without: str) -> mb.MsgbusContext:
    if not without:
        return mb.MsgbusContext(config)
    try:
        return mb.MsgbusContext(config | {without: False})
    except mb.InvalidConfig as error:
        if error.where == without:
            raise NotOfferedError("not offered by this version") from error
        raise


@contextmanager
def small_sender(place: Place, *, without: str = "") -> Iterator[Work]:
    """Publish small messages."""
    message = small_message()
    with publisher(place, without=without) as stream:
        publish = stream.publish

        def work(count: int) -> None:
            for number in range(count):
                message["frame_number"] = number
                publish(message)

        yield work


@contextmanager
def small_receiver(place: Place, *, without: str = "") -> Iterator[Work]:
    """Receive small messages."""
    with subscriber(place, without=without) as stream:
        recv = stream.recv

        def work(count: int) -> None:
            for _ in range(count):
                recv().meta_data  # noqa: B018  # a program would use it

        yield work


@contextmanager
def async_receiver(place: Place) -> Iterator[Work]:
    """Receive small messages in an asyncio loop."""
    with asyncio.Runner() as runner:
        bus = aio.MsgbusContext(place.client())
        subscriber = bus.new_subscriber(NAME)

        async def receive(count: int) -> None:
            for _ in range(count):
                (await subscriber.recv()).meta_data  # noqa: B018  # a program would use it

        yield lambda count: runner.run(receive(count))
        bus.close()


@contextmanager
def frame_sender(place: Place) -> Iterator[Work]:
    """Publish frames."""
    message, images = small_message(), frames()
    with publisher(place) as stream:

        def work(count: int) -> None:
            for _ in range(count):
                image = images.pop(0)
                images.append(image)
                stream.publish((message, image))

        yield work


@contextmanager
def frame_receiver(place: Place) -> Iterator[Work]:
    """Receive frames, and touch every page."""
    with subscriber(place) as stream:

        def work(count: int) -> None:
            for _ in range(count):
                touch(stream.recv().view)

        yield work


@contextmanager
def requester(place: Place) -> Iterator[Work]:
    """Send requests, and return how long each reply took."""
    message = small_message()
    with mb.MsgbusContext(place.client()) as bus, bus.get_service(NAME) as client:

        def work(count: int) -> list[int]:
            times = []
            for number in range(count):
                message["frame_number"] = number
                start = time.monotonic_ns()
                client.request(message, timeout=WARNING_TIME)
                times.append(time.monotonic_ns() - start)
            return times

        yield work


@contextmanager
def service(place: Place) -> Iterator[Work]:
    """Answer requests with their own content."""
    with mb.MsgbusContext(place.server()) as bus, bus.new_service(NAME) as server:

        def work(count: int) -> None:
            for _ in range(count):
                server.response(server.recv().meta_data)

        yield work
