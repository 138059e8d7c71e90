"""pyzmq as most programs use it: `send_multipart` and `recv_multipart`, with copies, and orjson."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import zmq

from benchmarks.by_hand import HEADER, JSON, ONE, TWO, open_socket, publisher
from benchmarks.place import Place
from benchmarks.work import Work, frames, small_message, touch


@contextmanager
def small_sender(place: Place) -> Iterator[Work]:
    """Send small messages."""
    message = small_message()
    with publisher(place) as socket:

        def work(count: int) -> None:
            for number in range(count):
                message["frame_number"] = number
                socket.send_multipart([HEADER, JSON, ONE, orjson.dumps(message)])

        yield work


@contextmanager
def small_receiver(place: Place) -> Iterator[Work]:
    """Receive small messages."""
    with open_socket(zmq.SUB, place) as socket:

        def work(count: int) -> None:
            for _ in range(count):
                orjson.loads(socket.recv_multipart()[3])

        yield work


@contextmanager
def frame_sender(place: Place) -> Iterator[Work]:
    """Send frames."""
    message, images = small_message(), frames()
    with publisher(place) as socket:

        def work(count: int) -> None:
            for _ in range(count):
                image = images.pop(0)
                images.append(image)
                socket.send_multipart([HEADER, JSON, TWO, orjson.dumps(message), image])

        yield work


@contextmanager
def frame_receiver(place: Place) -> Iterator[Work]:
    """Receive frames, and touch every page."""
    with open_socket(zmq.SUB, place) as socket:

        def work(count: int) -> None:
            for _ in range(count):
                parts = socket.recv_multipart()
                orjson.loads(parts[3])
                touch(parts[4])
                del parts

        yield work
