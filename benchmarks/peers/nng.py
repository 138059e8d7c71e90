"""pynng: PUB and SUB over a Unix socket. It has no messages of several parts: JSON and image are joined by a copy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.drive import Send, Take, decode, encode
from benchmarks.place import Place
from benchmarks.work import WARNING_TIME

_QUEUE = 1000  # messages, more than are outstanding


@contextmanager
def open_sender(place: Place, nbytes: int) -> Iterator[Send]:
    """Send the length of the JSON, the JSON and the image."""
    import pynng

    come = threading.Semaphore(0)
    with pynng.Pub0(send_buffer_size=_QUEUE) as socket:
        socket.add_post_pipe_connect_cb(lambda _: come.release())
        socket.listen(_address(place))
        for _ in range(place.subscribers):
            if not come.acquire(timeout=WARNING_TIME / 1000):
                raise TimeoutError("no subscriber came")

        def send(message: dict[str, Any], image: Any) -> None:
            data = encode(message)
            if image is not None:
                data = b"".join((len(data).to_bytes(4, "little"), data, image))
            socket.send(data)

        yield send


@contextmanager
def open_receiver(place: Place, take: Take) -> Iterator[Callable[[int], None]]:
    """Receive, and look into the image where it lies."""
    import pynng

    with pynng.Sub0(topics="", recv_buffer_size=_QUEUE, recv_max_size=0, recv_timeout=WARNING_TIME) as socket:
        socket.dial(_address(place), block=False)

        def wait_for(count: int) -> None:
            for _ in range(count):
                data = socket.recv()
                if data[0] == ord("{"):
                    take(decode(data), None)
                    continue
                end = 4 + int.from_bytes(data[:4], "little")
                view = memoryview(data)
                take(decode(view[4:end]), view[end:])

        yield wait_for


def _address(place: Place) -> str:
    return f"ipc://{place.directory}/nng"
