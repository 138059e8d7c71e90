"""Frames of any size by the bus (copied in, in place, through the socket) and by hand, and what memory itself takes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zmq

from benchmarks import by_hand, ours
from benchmarks.by_hand import HEADER, JSON, MORE, ONE, TWO, decode, encode
from benchmarks.drive import Load, Send, Take
from benchmarks.place import Place
from benchmarks.work import NotOfferedError, Pace, Work, frames, small_message, touch
from eis.msgbus import Publisher

SLOTS = 16  # as `shared_memory` has where it says nothing else


@contextmanager
def open_sender(place: Place, nbytes: int, *, without: str = "") -> Iterator[Send]:
    """Publish each image as it is; the bus may copy it."""
    with ours.publisher(place, without=without) as stream:
        yield lambda message, image: stream.publish(message if image is None else (message, image))


@contextmanager
def open_sender_shared(place: Place, nbytes: int) -> Iterator[Send]:
    """Publish each image through shared memory, also where it is so small that the bus sends it through the socket."""
    from eis.msgbus.transports.zmq.shared import sharing  # needs Linux

    sharing._WORTH_IT = 0  # noqa: SLF001  # the constant that is to be found; in this process alone
    with ours.publisher(place) as stream:
        yield lambda message, image: stream.publish(message if image is None else (message, image))


@contextmanager
def open_sender_in_place(place: Place, nbytes: int) -> Iterator[Send]:
    """Publish frames that were made where the subscriber reads them: one byte is written, the camera's work."""
    loan = getattr(Publisher, "loan", None)
    if loan is None:
        raise NotOfferedError("not offered by this version")
    with ours.publisher(place) as stream:

        def send(message: dict[str, Any], image: Any) -> None:
            frame = loan(stream, nbytes)
            frame.view[0] = image.flat[0]
            stream.publish((message, frame))

        yield send


@contextmanager
def open_receiver(place: Place, take: Take, *, without: str = "") -> Iterator[Callable[[int], None]]:
    """Receive, and let go of each image before the next."""
    with ours.subscriber(place, without=without) as stream:

        def wait_for(count: int) -> None:
            for _ in range(count):
                envelope = stream.recv()
                take(envelope.meta_data, envelope.view)
                del envelope

        yield wait_for


@contextmanager
def open_sender_by_hand(place: Place, nbytes: int) -> Iterator[Send]:
    """Send each image without a copy."""
    with by_hand.publisher(place) as socket:
        send, _ = by_hand.backend(socket)

        def send_message(message: dict[str, Any], image: Any) -> None:
            send(HEADER, MORE)
            send(JSON, MORE)
            if image is None:
                send(ONE, MORE)
                send(encode(message), 0)
            else:
                send(TWO, MORE)
                send(encode(message), MORE)
                send(image, 0, copy=False)

        yield send_message


@contextmanager
def open_receiver_by_hand(place: Place, take: Take) -> Iterator[Callable[[int], None]]:
    """Receive images without a copy."""
    with by_hand.open_socket(zmq.SUB, place) as socket:
        _, recv = by_hand.backend(socket)

        def wait_for(count: int) -> None:
            for _ in range(count):
                recv()
                recv()
                parts = recv()
                message = decode(recv())
                take(message, None if parts == ONE else recv(0, copy=False).buffer)

        yield wait_for


@contextmanager
def copying(load: Load, place: Place) -> Iterator[Work]:
    """Copy images and send nothing: the rate at which this machine's memory takes them.

    Into as many places in turn as the bus has slots: a frame that others read cannot be overwritten by the next, so its
    copy goes where the cache of the processor has nothing of it.
    """
    copies = _copies(load)

    def work(count: int) -> None:
        for copy, image in itertools.islice(copies, count):
            np.copyto(copy, image)

    yield work


def _copies(load: Load) -> Iterator[tuple[Any, Any]]:
    """Yield where to copy to, and what, for ever: from one call of a work to the next the turns go on."""
    images = frames(load.shape)
    places = [np.zeros_like(images[0]) for _ in range(SLOTS)]
    return zip(itertools.cycle(places), itertools.cycle(images))


@contextmanager
def nothing(place: Place) -> Iterator[Work]:
    """Be the other side of one that sends nothing."""
    yield lambda count: None


@contextmanager
def paced_copying_sender(load: Load, place: Place) -> Iterator[Work]:
    """Copy an image, and publish a small message with the time before the copy."""
    message, copies = small_message(), _copies(load)
    pace = Pace(load.pace)
    with ours.publisher(place) as stream:

        def work(count: int) -> None:
            for copy, image in itertools.islice(copies, count):
                pace.wait()
                message["sent"] = time.monotonic_ns()
                np.copyto(copy, image)
                stream.publish(message)

        yield work


@contextmanager
def paced_copying_receiver(load: Load, place: Place) -> Iterator[Work]:
    """Receive small messages, touch an image of its own at each, and return the times."""
    images = itertools.cycle(frames(load.shape))
    with ours.subscriber(place) as stream:

        def work(count: int) -> list[int]:
            times = []
            for image in itertools.islice(images, count):
                envelope = stream.recv()
                touch(image)
                times.append(time.monotonic_ns() - envelope.meta_data["sent"])
            return times

        yield work
