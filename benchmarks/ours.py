"""The bus, used as its tutorial shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import eis.msgbus as mb
from benchmarks.place import NAME, Place
from benchmarks.work import FRAME_RATE, SMALL_RATE, WARNING_TIME, Work, frames, small_message, ticks, touch
from eis.msgbus import aio


@contextmanager
def _publisher(place: Place) -> Iterator[mb.Publisher]:
    with mb.MsgbusContext(place.server()) as bus, bus.new_publisher(NAME) as publisher:
        publisher.wait_for_subscribers(1, WARNING_TIME)
        yield publisher


@contextmanager
def _subscriber(place: Place) -> Iterator[mb.Subscriber[Any]]:
    with mb.MsgbusContext(place.client()) as bus, bus.new_subscriber(NAME) as subscriber:
        yield subscriber


@contextmanager
def small_sender(place: Place) -> Iterator[Work]:
    """Publish small messages."""
    message = small_message()
    with _publisher(place) as publisher:
        publish = publisher.publish

        def work(count: int) -> None:
            for number in range(count):
                message["frame_number"] = number
                publish(message)

        yield work


@contextmanager
def small_receiver(place: Place) -> Iterator[Work]:
    """Receive small messages."""
    with _subscriber(place) as subscriber:
        recv = subscriber.recv

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
    with _publisher(place) as publisher:

        def work(count: int) -> None:
            for _ in range(count):
                image = images.pop(0)
                images.append(image)
                publisher.publish((message, image))

        yield work


@contextmanager
def frame_receiver(place: Place) -> Iterator[Work]:
    """Receive frames, and touch every page."""
    with _subscriber(place) as subscriber:

        def work(count: int) -> None:
            for _ in range(count):
                touch(subscriber.recv().view)

        yield work


@contextmanager
def paced_small_sender(place: Place) -> Iterator[Work]:
    """Publish small messages at an even pace, with the time."""
    message = small_message()
    with _publisher(place) as publisher:

        def work(count: int) -> None:
            for _ in ticks(count, SMALL_RATE):
                message["sent"] = time.monotonic_ns()
                publisher.publish(message)

        yield work


@contextmanager
def paced_frame_sender(place: Place) -> Iterator[Work]:
    """Publish frames at an even pace, with the time."""
    message, images = small_message(), frames()
    with _publisher(place) as publisher:

        def work(count: int) -> None:
            for _ in ticks(count, FRAME_RATE):
                image = images.pop(0)
                images.append(image)
                message["sent"] = time.monotonic_ns()
                publisher.publish((message, image))

        yield work


@contextmanager
def timing_receiver(place: Place) -> Iterator[Work]:
    """Receive small messages or frames, and return how long each was on its way."""
    with _subscriber(place) as subscriber:

        def work(count: int) -> list[int]:
            times = []
            for _ in range(count):
                envelope = subscriber.recv()
                if envelope.view is not None:
                    touch(envelope.view)
                times.append(time.monotonic_ns() - envelope.meta_data["sent"])
                del envelope
            return times

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
