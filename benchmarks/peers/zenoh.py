"""Zenoh between two peers over a Unix socket, blocking where a queue is full, the receiver in a callback.

Its images are `bytes` from the beginning, since it takes no other buffer. With `shared` they go through its shared
memory, into which they are copied, or of which one byte is written (`in_place`); what arrives has no buffer to look
into from Python, so each image is copied out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.drive import Arrivals, Send, Take, decode, encode
from benchmarks.place import Place
from benchmarks.work import WARNING_TIME, ticks

_KEY = "bench/stream"
_SLOTS = 16  # images that its shared memory holds
_TRIES = 50  # per second, until the other side is there


@contextmanager
def open_sender(place: Place, nbytes: int, *, in_place: bool = False) -> Iterator[Send]:
    """Send the JSON as the attachment of the image, or alone."""
    import zenoh

    with _session(place, "listen") as session:
        publisher = session.declare_publisher(_KEY, congestion_control=zenoh.CongestionControl.BLOCK)
        come = session.liveliness().declare_subscriber("bench/here/*", history=True)
        for _ in range(place.subscribers):
            come.recv()
        _wait_until_matched(publisher)
        put = publisher.put
        if not nbytes:
            yield lambda message, _: put(encode(message))
            return
        memory = zenoh.shm.ShmProvider.default_backend(_SLOTS * nbytes)
        whole = zenoh.shm.BlockOn(zenoh.shm.GarbageCollect())
        known: dict[int, bytes] = {}

        def send(message: dict[str, Any], image: Any) -> None:
            data = known.get(id(image)) or known.setdefault(id(image), image.tobytes())
            buffer = memory.alloc(nbytes, whole)
            if in_place:
                buffer[0] = data[0]
            else:
                buffer[0:nbytes] = data
            put(buffer, attachment=encode(message))

        yield send


@contextmanager
def open_receiver(place: Place, take: Take) -> Iterator[Callable[[int], None]]:
    """Take each message in the thread of the library."""
    arrivals = Arrivals()

    def arrive(sample: Any) -> None:
        if sample.attachment is None:
            take(decode(sample.payload.to_bytes()), None)
        else:
            take(decode(sample.attachment.to_bytes()), sample.payload.to_bytes())
        arrivals.add()

    with _session(place, "connect") as session:
        session.declare_subscriber(_KEY, arrive)
        here = session.liveliness().declare_token(f"bench/here/{session.info.zid()}")
        yield arrivals.wait_for
        here.undeclare()


@contextmanager
def _session(place: Place, verb: str) -> Iterator[Any]:
    import zenoh

    config = zenoh.Config()
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("transport/shared_memory/enabled", "true")
    config.insert_json5(f"{verb}/endpoints", f'["unixsock-stream/{place.directory}/zenoh"]')
    with zenoh.open(config) as session:
        yield session


def _wait_until_matched(publisher: Any) -> None:
    for _ in ticks(_TRIES * WARNING_TIME // 1000, _TRIES):
        if publisher.matching_status.matching:
            return
    raise TimeoutError("no subscriber came")
