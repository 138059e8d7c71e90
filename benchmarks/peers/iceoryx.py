"""iceoryx2: samples in shared memory, an event to wake the receiver. One machine and one user; nothing is checked.

A sample is the image, the JSON and its length. `open_sender` copies the image in, `open_sender_in_place` writes one
byte of it, as for the bus.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.drive import Send, Take, decode, encode
from benchmarks.place import Place
from benchmarks.work import WARNING_TIME, ticks

T = TypeVar("T")

_LENGTH = 4
_ROOM = 1024  # bytes for the JSON and its length
_TRIES = 50  # per second, until the other side is there

Fill = Callable[[int, Any], object]
"""Write an image to an address."""


@contextmanager
def open_sender(place: Place, nbytes: int, *, in_place: bool = False) -> Iterator[Send]:
    """Send the image by one copy into the sample, or as it was made there."""
    publisher, notifier = _ports(place, nbytes)
    loan, notify = publisher.loan_slice_uninit, notifier.notify
    fill: Fill = _write_one_byte if in_place else _write

    def send(message: dict[str, Any], image: Any) -> None:
        data = encode(message)
        data += len(data).to_bytes(_LENGTH, "little")
        sample = loan(nbytes + len(data))
        address = sample.payload_ptr
        if image is not None:
            fill(address, image)
        ctypes.memmove(address + nbytes, data, len(data))
        sample.assume_init().send()
        notify()

    with ExitStack() as stack:
        for port in (notifier, publisher):
            stack.callback(port.delete)
        yield send


def _ports(place: Place, nbytes: int) -> tuple[Any, Any]:
    """Return the publisher and the notifier, when all subscribers have come."""
    import iceoryx2 as ix

    node, name = _meet(place)
    payload = node.service_builder(name).publish_subscribe(ix.Slice[ctypes.c_uint8])
    queue = 8 if nbytes else 512  # samples, more than are outstanding; the memory is reserved for all of them
    limits = payload.subscriber_max_buffer_size(queue).subscriber_max_borrowed_samples(2)
    service = limits.max_subscribers(place.subscribers).enable_safe_overflow(False).create()
    event = node.service_builder(name).event().max_listeners(place.subscribers).create()
    ports = service.publisher_builder().initial_max_slice_len(nbytes + _ROOM)
    publisher = ports.backpressure_strategy(ix.BackpressureStrategy.RetryUntilDelivered).create()
    notifier = event.notifier_builder().create()
    _wait_for(lambda: event.dynamic_config.number_of_listeners >= place.subscribers)
    return publisher, notifier


def _write(address: int, image: Any) -> None:
    ctypes.memmove(address, image.ctypes.data, image.nbytes)


def _write_one_byte(address: int, image: Any) -> None:
    ctypes.memset(address, int(image.flat[0]), 1)


@contextmanager
def open_receiver(place: Place, take: Take) -> Iterator[Callable[[int], None]]:
    """Look into each image where it lies."""
    import iceoryx2 as ix

    node, name = _meet(place)
    payload = node.service_builder(name).publish_subscribe(ix.Slice[ctypes.c_uint8])
    subscriber = _when_it_is_there(payload.open).subscriber_builder().create()
    listener = _when_it_is_there(node.service_builder(name).event().open).listener_builder().create()
    receive, limit = subscriber.receive, ix.Duration.from_millis(WARNING_TIME)

    def wait_for(count: int) -> None:
        while count:
            sample = receive()
            if sample is None:
                listener.timed_wait(limit)
                continue
            _look(sample.payload_ptr, sample.payload().len(), take)
            sample.delete()
            count -= 1

    with ExitStack() as stack:
        for port in (listener, subscriber):
            stack.callback(port.delete)
        yield wait_for


def _look(address: int, size: int, take: Take) -> None:
    length = int.from_bytes(ctypes.string_at(address + size - _LENGTH, _LENGTH), "little")
    nbytes = size - _LENGTH - length
    message = decode(ctypes.string_at(address + nbytes, length))
    take(message, np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)) if nbytes else None)


def _meet(place: Place) -> tuple[Any, Any]:
    """Return this process's node and the name of the service."""
    import iceoryx2 as ix

    ix.set_log_level(ix.LogLevel.Fatal)
    node = ix.NodeBuilder.new().create(ix.ServiceType.Ipc)
    return node, ix.ServiceName.new(f"bench/{Path(place.directory).name}")


def _when_it_is_there(open_service: Callable[[], T]) -> T:
    import iceoryx2 as ix

    for _ in ticks(_TRIES * WARNING_TIME // 1000, _TRIES):
        try:
            return open_service()
        except (ix.PublishSubscribeOpenError, ix.EventOpenError):
            continue
    raise TimeoutError("no publisher came")


def _wait_for(there: Callable[[], bool]) -> None:
    for _ in ticks(_TRIES * WARNING_TIME // 1000, _TRIES):
        if there():
            return
    raise TimeoutError("no subscriber came")
