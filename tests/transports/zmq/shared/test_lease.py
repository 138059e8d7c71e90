"""Frames that are read where they lie: how long they stay, and what is no frame."""

import gc
import os

import numpy as np
import pytest

from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared import Fetcher, Lease
from eis.msgbus.transports.zmq.shared.descriptor import pack, unpack
from tests.transports.zmq.shared.conftest import SMALLEST, Side, content, descriptors, mapped_bytes


@pytest.fixture
def fetcher(side: Side) -> Fetcher:
    return side.fetcher()


def leased(side: Side, fetcher: Fetcher, *blobs: bytes) -> Lease:
    lease = fetcher.lease(side.pool.put(blobs) or b"")
    assert lease is not None
    return lease


def stays(side: Side) -> bool:
    """Tell whether the slot of the first message is still held, when all others are used again and again."""
    for _ in range(20):
        side.pool.put([b"other"])
    loans = [side.pool.loan(1) for _ in range(3)]
    return None in loans


def test_views_cannot_be_written_to(side: Side, fetcher: Fetcher) -> None:
    [view] = leased(side, fetcher, b"frame").views
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1
    array = np.frombuffer(view, np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_lease_ends_with_the_last_thing_that_was_made_from_a_view(side: Side, fetcher: Fetcher) -> None:
    lease = leased(side, fetcher, b"first", b"second")
    part = lease.views[1][1:3]
    del lease
    array = np.frombuffer(part, np.uint8)[1:]
    del part
    assert stays(side)
    assert array.tobytes() == b"c"
    del array
    assert not stays(side)


def test_release_ends_the_lease_and_the_views(side: Side, fetcher: Fetcher) -> None:
    lease = leased(side, fetcher, b"frame")
    [view] = lease.views
    lease.release()
    lease.release()
    assert lease.views == ()
    with pytest.raises(ValueError, match="released"):
        bytes(view)
    assert not stays(side)


def test_array_outlives_release(side: Side, fetcher: Fetcher) -> None:
    lease = leased(side, fetcher, b"frame")
    array = np.frombuffer(lease.views[0], np.uint8)
    lease.release()
    assert stays(side)
    assert array.tobytes() == b"frame"


def test_array_outlives_publisher_and_subscriber(side: Side, fetcher: Fetcher) -> None:
    frame, before, others = os.urandom(SMALLEST), descriptors(), mapped_bytes()
    array = np.frombuffer(leased(side, fetcher, frame).views[0], np.uint8)
    side.close()
    gc.collect()
    assert array.tobytes() == frame
    assert mapped_bytes() > others
    del array
    assert mapped_bytes() == others
    assert descriptors() < before


def test_two_subscribers_read_one_frame_and_each_keeps_it(side: Side, fetcher: Fetcher) -> None:
    other = side.fetcher()
    published = side.pool.put([b"frame"]) or b""
    first, second = fetcher.lease(published), other.lease(published)
    assert first is not None
    assert second is not None
    first.release()
    assert stays(side)
    assert bytes(second.views[0]) == b"frame"
    second.release()
    assert not stays(side)


def changed(descriptor: bytes, **changes: object) -> bytes:
    return pack(*unpack(descriptor)._replace(**changes))  # type: ignore[arg-type]  # a tuple's own names


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"slot": 3}, "expected one of 3 slots, got number 3"),
        ({"slot": 2**32 - 1}, "expected one of 3 slots"),
        ({"slot": 1}, "expected a generation of at most 0, got 1"),  # nothing was ever there
        ({"generation": 2}, "expected a generation of at most 1, got 2"),
        ({"generation": 0}, "expected a generation, got 0"),
        ({"sizes": (SMALLEST + 1,)}, f"expected blobs of at most {SMALLEST} bytes, got {SMALLEST + 1}"),
        ({"sizes": (2**64 - 1,)}, "expected blobs of at most"),
        ({"sizes": (2**63, 2**63)}, "expected blobs of at most"),
        ({"sizes": (1,) * 255, "slot": 9}, "expected one of 3 slots"),
    ],
)
def test_forged_descriptor_is_refused_and_holds_nothing(
    side: Side, fetcher: Fetcher, changes: dict[str, object], problem: str
) -> None:
    published = side.pool.put([b"frame"]) or b""
    with pytest.raises(InvalidMessage, match=problem) as caught:
        fetcher.lease(changed(published, **changes))
    assert not stays(side)  # though the error is kept
    assert caught.value.where == ""
    assert content(fetcher, side.pool.put([b"good"])) == (b"good",)


@pytest.mark.parametrize("changes", [{"epoch": 1}, {"number": 2}, {"number": 0}])
def test_frame_of_a_memory_that_is_not_here_is_lost(side: Side, fetcher: Fetcher, changes: dict[str, object]) -> None:
    published = side.pool.put([b"frame"]) or b""
    assert fetcher.lease(changed(published, **changes)) is None
    assert content(fetcher, published) == (b"frame",)
    assert fetcher.lease(changed(published, **changes)) is None


def test_frame_is_leased_once_at_a_time(side: Side, fetcher: Fetcher) -> None:
    published = side.pool.put([b"frame"]) or b""
    lease = fetcher.lease(published)
    with pytest.raises(InvalidMessage, match="slot 0 is leased already: a frame is sent once"):
        fetcher.lease(published)
    assert lease is not None
    assert stays(side)
    lease.release()
    assert not stays(side)
