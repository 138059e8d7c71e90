"""pyzmq as an expert writes it for this one job, over the same frames.

The compiled half of pyzmq's socket is called directly, with flags as plain numbers; the count frame says how many parts
to read; images are not copied on either side. No errors are handled, nothing a peer sends is checked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from benchmarks.place import NAME, Place
from benchmarks.work import WARNING_TIME, Work, frames, small_message, touch

HIGH_WATER_MARK = 10_000
"""Far above the window: libzmq learns only now and then what a receiver has read, and a fast sender would lose some."""

MORE = int(zmq.SNDMORE)
HEADER = NAME.encode() + b"\0"
JSON, ONE, TWO = b"\0", b"\1", b"\2"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(dict[str, Any]).decode


@contextmanager
def open_socket(kind: int, place: Place) -> Iterator[zmq.Socket[bytes]]:
    """Open a socket of `kind`: XPUB and REP bind, SUB and REQ connect."""
    with zmq.Context() as context, context.socket(kind) as socket:
        prepare(socket, place)
        yield socket
        socket.linger = 0


def prepare(socket: zmq.Socket[Any], place: Place) -> None:
    """Give a socket its keys and its address."""
    binds, keys = socket.type in (zmq.XPUB, zmq.REP), place.keys
    socket.rcvtimeo = WARNING_TIME
    socket.sndhwm = HIGH_WATER_MARK
    if socket.type == zmq.XPUB:
        socket.xpub_verbose = True  # each subscription is told, not the first of its kind alone
    if keys is not None and binds:
        socket.curve_server = True
        socket.curve_secretkey = keys.server_secret
    elif keys is not None:
        socket.curve_serverkey = keys.server_public
        socket.curve_publickey, socket.curve_secretkey = keys.client_public, keys.client_secret
    if socket.type == zmq.SUB:
        socket.subscribe(NAME)
    (socket.bind if binds else socket.connect)(place.endpoint)


@contextmanager
def publisher(place: Place) -> Iterator[zmq.Socket[bytes]]:
    """Open the sending socket, and wait for the subscriptions."""
    with open_socket(zmq.XPUB, place) as socket:
        for _ in range(place.subscribers):
            socket.recv()
        yield socket


def subscriber(place: Place) -> AbstractContextManager[zmq.Socket[bytes]]:
    """Open the receiving socket."""
    return open_socket(zmq.SUB, place)


def backend(socket: zmq.Socket[bytes]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the compiled `send` and `recv` of a socket."""
    return zmq.backend.Socket.send.__get__(socket), zmq.backend.Socket.recv.__get__(socket)


Opener = Callable[[Place], AbstractContextManager[zmq.Socket[bytes]]]
"""Open a socket there; whoever is behind a broker opens it otherwise."""


@contextmanager
def small_sender(place: Place, opened: Opener = publisher) -> Iterator[Work]:
    """Send small messages."""
    message = small_message()
    with opened(place) as socket:
        send, _ = backend(socket)

        def work(count: int) -> None:
            for number in range(count):
                message["frame_number"] = number
                send(HEADER, MORE)
                send(JSON, MORE)
                send(ONE, MORE)
                send(encode(message), 0)

        yield work


@contextmanager
def small_receiver(place: Place, opened: Opener = subscriber) -> Iterator[Work]:
    """Receive small messages."""
    with opened(place) as socket:
        _, recv = backend(socket)

        def work(count: int) -> None:
            for _ in range(count):
                recv()
                recv()
                parts = recv()
                decode(recv())
                if parts != ONE:
                    for _ in range(parts[0] - 1):
                        recv()

        yield work


@contextmanager
def async_receiver(place: Place) -> Iterator[Work]:
    """Receive small messages as the asyncio half of pyzmq offers it."""
    with asyncio.Runner() as runner, zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
        prepare(socket, place)

        async def receive(count: int) -> None:
            for _ in range(count):
                parts = await socket.recv_multipart()
                decode(parts[3])

        yield lambda count: runner.run(receive(count))


@contextmanager
def frame_sender(place: Place, opened: Opener = publisher) -> Iterator[Work]:
    """Send frames without a copy."""
    message, images = small_message(), frames()
    with opened(place) as socket:
        send, _ = backend(socket)

        def work(count: int) -> None:
            for _ in range(count):
                image = images.pop(0)
                images.append(image)
                send(HEADER, MORE)
                send(JSON, MORE)
                send(TWO, MORE)
                send(encode(message), MORE)
                send(image, 0, copy=False)

        yield work


@contextmanager
def frame_receiver(place: Place, opened: Opener = subscriber) -> Iterator[Work]:
    """Receive frames without a copy, and touch every page."""
    with opened(place) as socket:
        _, recv = backend(socket)

        def work(count: int) -> None:
            for _ in range(count):
                recv()
                recv()
                parts = recv()
                decode(recv())
                for _ in range(parts[0] - 1):
                    touch(recv(0, copy=False).buffer)

        yield work


@contextmanager
def requester(place: Place) -> Iterator[Work]:
    """Send requests, and return how long each reply took."""
    message = small_message()
    with open_socket(zmq.REQ, place) as socket:
        send, recv = backend(socket)

        def work(count: int) -> list[int]:
            times = []
            for number in range(count):
                message["frame_number"] = number
                start = time.monotonic_ns()
                _exchange(send, encode(message))
                _read(recv)
                times.append(time.monotonic_ns() - start)
            return times

        yield work


@contextmanager
def service(place: Place) -> Iterator[Work]:
    """Answer requests with their own content."""
    with open_socket(zmq.REP, place) as socket:
        send, recv = backend(socket)

        def work(count: int) -> None:
            for _ in range(count):
                _exchange(send, encode(_read(recv)))

        yield work


def _exchange(send: Callable[..., Any], data: bytes) -> None:
    send(HEADER, MORE)
    send(JSON, MORE)
    send(ONE, MORE)
    send(data, 0)


def _read(recv: Callable[..., Any]) -> dict[str, Any]:
    recv()
    recv()
    parts = recv()
    message = decode(recv())
    for _ in range(parts[0] - 1):
        recv()
    return message
