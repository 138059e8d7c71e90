"""eCAL over its shared memory, waiting for each receiver to have read.

It has no messages of several parts, and takes and gives `bytes`: JSON and image are joined by a copy, and copied out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.drive import Arrivals, Send, Take, decode, encode
from benchmarks.place import Place
from benchmarks.work import WARNING_TIME, ticks

_TRIES = 50  # per second, until the other side is there


@contextmanager
def open_sender(place: Place, nbytes: int) -> Iterator[Send]:
    """Send the length of the JSON, the JSON and the image."""
    from ecal import nanobind_core as ecal

    with _ecal():
        config = ecal.PublisherConfiguration()
        config.layer.shm.acknowledge_timeout_ms = 1000
        config.layer.shm.zero_copy_mode = True
        publisher = ecal.Publisher(_topic(place), config=config)
        for _ in ticks(_TRIES * WARNING_TIME // 1000, _TRIES):
            if publisher.get_subscriber_count() >= place.subscribers:
                break

        def send(message: dict[str, Any], image: Any) -> None:
            data = encode(message)
            parts = (len(data).to_bytes(4, "little"), data)
            publisher.send(b"".join(parts if image is None else (*parts, image)))

        yield send


@contextmanager
def open_receiver(place: Place, take: Take) -> Iterator[Callable[[int], None]]:
    """Take each message in the thread of the library."""
    from ecal import nanobind_core as ecal

    arrivals = Arrivals()

    def arrive(publisher: Any, kind: Any, data: Any) -> None:  # the library's
        view = memoryview(data.buffer)
        end = 4 + int.from_bytes(view[:4], "little")
        take(decode(view[4:end]), view[end:] if len(view) > end else None)
        arrivals.add()

    with _ecal():
        subscriber = ecal.Subscriber(_topic(place))
        subscriber.set_receive_callback(arrive)
        yield arrivals.wait_for
        subscriber.remove_receive_callback()


@contextmanager
def _ecal() -> Iterator[None]:
    from ecal import nanobind_core as ecal

    config = ecal.Configuration()
    config.registration.registration_refresh = 200  # milliseconds, a fifth of the default: to find each other sooner
    config.logging.provider.console.enable = False
    ecal.initialize(config, "bench")
    try:
        yield
    finally:
        ecal.finalize()


def _topic(place: Place) -> str:
    return f"bench-{Path(place.directory).name}"
