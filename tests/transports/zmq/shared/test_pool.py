"""The publisher's slots: which is taken, which is free again, when there are none."""

import os
import resource

import numpy as np
import pytest

from eis.msgbus.transports.zmq.shared import Pool
from eis.msgbus.transports.zmq.shared.descriptor import READ, THROUGH_ZMQ, unpack
from tests.transports.zmq.shared.conftest import SMALLEST, Publish, Side, content, descriptors, mapped_bytes


def test_blobs_come_as_they_were_put(side: Side) -> None:
    fetcher = side.fetcher()
    blobs = (b"first", b"", memoryview(bytearray(range(256))), os.urandom(5000))
    assert content(fetcher, side.pool.put(blobs)) == tuple(map(bytes, blobs))


def test_there_is_no_memory_before_the_first_message() -> None:
    before = descriptors(), mapped_bytes()
    pool = Pool()
    assert pool.nbytes == 0
    assert (descriptors(), mapped_bytes()) == before
    pool.put([b"x"])
    assert pool.nbytes > 16 * SMALLEST
    assert (descriptors(), mapped_bytes()) == (before[0] + 1, pool.nbytes)
    pool.close()
    assert (descriptors(), mapped_bytes()) == before


def test_16_frames_of_1080p_and_10_of_2160p_have_room_where_nothing_is_configured() -> None:
    for size, frames in ((1080 * 1920 * 3, 16), (2160 * 3840 * 3, 10)):
        pool = Pool()
        loans = [pool.loan(size) for _ in range(frames)]
        assert None not in loans
        assert pool.loan(size) is None
        pool.close()


def test_what_was_published_longest_ago_is_overwritten_first(side: Side) -> None:
    fetcher = side.fetcher()
    published = [side.pool.put([bytes([n])]) for n in range(5)]
    assert [content(fetcher, each) for each in published] == [None, None, (b"\2",), (b"\3",), (b"\4",)]


def test_slot_that_is_read_is_passed_over(side: Side) -> None:
    fetcher = side.fetcher()
    first = side.pool.put([b"first"])
    assert first is not None
    lease = fetcher.lease(first)
    assert lease is not None
    for n in range(10):
        assert content(fetcher, side.pool.put([bytes([n])])) == (bytes([n]),)
    assert bytes(lease.views[0]) == b"first"
    assert side.pool.full == 0


def test_message_is_refused_and_counted_while_every_slot_is_read(side: Side) -> None:
    fetcher = side.fetcher()
    leases = [fetcher.lease(side.pool.put([bytes([n])]) or b"") for n in range(3)]
    assert side.pool.put([b"x"]) is None
    assert side.pool.loan(1) is None
    assert side.pool.full == 2
    assert [bytes(lease.views[0]) for lease in leases if lease] == [b"\0", b"\1", b"\2"]
    leases.pop()
    assert content(fetcher, side.pool.put([b"x"])) == (b"x",)


def test_slot_is_free_again_when_what_was_put_is_no_flat_buffer(side: Side) -> None:
    for _ in range(10):
        with pytest.raises(ValueError, match="different structures"):
            side.pool.put([np.zeros(8, np.uint16)])
    assert content(side.fetcher(), side.pool.put([b"x"])) == (b"x",)
    assert side.pool.full == 0


def test_loan_is_filled_in_place_and_published_without_a_copy(side: Side) -> None:
    fetcher = side.fetcher()
    loan = side.pool.loan(6)
    assert loan is not None
    np.frombuffer(loan.view, np.uint8).reshape(2, 3)[:] = [[1, 2, 3], [4, 5, 6]]
    assert content(fetcher, side.pool.publish(loan)) == (b"\1\2\3\4\5\6",)


def test_loan_is_lent_as_a_whole_until_it_is_published_and_cannot_be_written_to_afterwards(side: Side) -> None:
    loan = side.pool.loan(2)
    assert loan is not None
    assert side.pool.lent([loan.view]) is loan
    for copied in ([loan.view[:1]], [loan.view, b"x"], [b"x"], [memoryview(b"x")]):
        assert side.pool.lent(copied) is None
    side.pool.publish(loan)
    assert side.pool.lent([loan.view]) is None
    with pytest.raises(TypeError, match="read-only"):
        loan.view[0] = 1


def test_loan_is_free_again_when_it_is_dropped(side: Side) -> None:
    for _ in range(10):
        assert side.pool.loan(100) is not None
    assert side.pool.full == 0


def test_slot_of_a_loan_is_not_used_again_while_an_array_of_it_is_there(side: Side) -> None:
    fetcher, loan = side.fetcher(), side.pool.loan(4)
    assert loan is not None
    array = np.frombuffer(loan.view, np.uint8)
    published = side.pool.publish(loan)
    del loan
    for _ in range(10):
        side.pool.put([b"other"])
    assert content(fetcher, published) == (array.tobytes(),)
    del array
    for _ in range(3):
        side.pool.put([b"other"])
    assert content(fetcher, published) is None


def test_loan_that_is_not_published_is_read_by_nobody(side: Side) -> None:
    fetcher, published = side.fetcher(), side.pool.put([b"x"])
    loans = [side.pool.loan(1) for _ in range(3)]
    assert content(fetcher, published) is None  # its slot is being written
    del loans
    assert content(fetcher, published) is None  # it may have been


def test_larger_message_gets_larger_slots(side: Side) -> None:
    fetcher, small = side.fetcher(), bytes(SMALLEST)
    first = side.pool.put([small])
    assert content(fetcher, first) == (small,)
    large = os.urandom(SMALLEST + 1)
    second = side.pool.put([large])
    assert content(fetcher, second) == (large,)
    assert content(fetcher, side.pool.put([small])) == (small,)
    assert content(fetcher, first) is None
    assert side.pool.nbytes == mapped_bytes() // 2  # what is old is gone on both sides


def test_old_memory_stays_while_it_is_read_and_no_longer(side: Side) -> None:
    fetcher = side.fetcher()
    lease = fetcher.lease(side.pool.put([b"small"]) or b"")
    assert lease is not None
    before = side.pool.nbytes
    side.pool.put([bytes(SMALLEST + 1)])
    both = side.pool.nbytes
    assert bytes(lease.views[0]) == b"small"
    lease.release()
    side.pool.put([b"x"])
    assert side.pool.nbytes == both - before


def test_slots_do_not_grow_beside_what_is_still_read_when_there_is_no_room_for_both(publish: Publish) -> None:
    side = publish(slots=3, max_bytes=8 * SMALLEST)
    fetcher = side.fetcher()
    lease = fetcher.lease(side.pool.put([b"small"]) or b"")
    assert lease is not None
    assert side.pool.put([bytes(3 * SMALLEST)]) is None
    assert content(fetcher, side.pool.put([b"still"])) == (b"still",)
    lease.release()
    large = bytes(3 * SMALLEST)
    assert content(fetcher, side.pool.put([large])) == (large,)
    assert side.pool.nbytes <= 8 * SMALLEST


def test_there_are_fewer_slots_for_very_large_messages_and_none_for_larger_ones(publish: Publish) -> None:
    side = publish(slots=16, max_bytes=10 * SMALLEST)
    fetcher, large = side.fetcher(), bytes(4 * SMALLEST)
    assert content(fetcher, side.pool.put([large])) == (large,)
    assert side.pool.put([bytes(5 * SMALLEST)]) is None
    assert content(fetcher, side.pool.put([large])) == (large,)
    assert side.pool.full == 1


def test_loan_from_before_the_slots_grew_is_copied(side: Side) -> None:
    loan = side.pool.loan(4)
    assert loan is not None
    side.pool.put([bytes(SMALLEST + 1)])
    assert side.pool.lent([loan.view]) is None


def test_view_that_outlives_its_loan_is_copied(side: Side) -> None:
    loan = side.pool.loan(4)
    assert loan is not None
    view = loan.view
    del loan
    assert side.pool.lent([view]) is None


def test_message_is_refused_where_the_system_has_no_descriptors_left(side: Side) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert side.pool.put([b"x"]) is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert content(side.fetcher(), side.pool.put([b"x"])) == (b"x",)


def test_message_is_refused_where_there_is_no_room_to_map_it() -> None:
    pool = Pool(2, 1 << 62)
    before = descriptors()
    assert pool.loan(1 << 60) is None
    assert descriptors() == before


def test_message_is_refused_where_python_was_built_without_memfd(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert side.pool.put([b"x"]) is None


def test_pool_that_is_closed_has_no_room(side: Side) -> None:
    loan = side.pool.loan(1)
    assert loan is not None
    side.pool.close()
    assert side.pool.put([b"x"]) is None
    assert side.pool.lent([loan.view]) is None


def test_slot_that_was_taken_ahead_is_the_next_one_and_nobody_reads_it(side: Side) -> None:
    fetcher = side.fetcher()
    first = side.pool.put([b"first"])
    for n in range(10):
        side.pool.prepare()
        side.pool.prepare()
        loan = side.pool.loan(1)
        assert loan is not None
        loan.view[:] = bytes([n])
        assert content(fetcher, side.pool.publish(loan)) == (bytes([n]),)
        del loan
    assert content(fetcher, first) is None
    assert side.pool.full == 0


def test_no_slot_is_taken_ahead_that_somebody_has_still_to_read(side: Side) -> None:
    fetcher = side.fetcher()
    published = [side.pool.put([bytes([n])]) for n in range(3)]
    side.pool.prepare()
    assert [content(fetcher, each) for each in published] == [(b"\0",), (b"\1",), (b"\2",)]


def test_slot_that_was_taken_ahead_is_given_back_when_the_next_message_is_larger(side: Side) -> None:
    fetcher = side.fetcher()
    assert content(fetcher, side.pool.put([b"x"])) == (b"x",)
    side.pool.prepare()
    larger = side.pool.put([bytes(2 * SMALLEST)])
    assert content(fetcher, larger) == (bytes(2 * SMALLEST),)
    nbytes = side.pool.nbytes
    side.pool.put([bytes(2 * SMALLEST)])
    assert mapped_bytes() == nbytes + side.pool.nbytes  # the publisher's and the subscriber's: of the new memory alone


def test_pool_that_was_closed_has_nothing_ahead() -> None:
    pool = Pool(2)
    pool.put([b"x"])
    before = descriptors()
    pool.prepare()
    pool.close()
    assert pool.loan(1) is None
    assert descriptors() == before - 1


@pytest.mark.parametrize("lie", [{"number": 2}, {"slot": 2**32 - 1}, {"generation": 2}, {"generation": 2**64 - 1}])
def test_reader_that_speaks_of_another_frame_than_there_is_has_said_nothing(lie: dict[str, int]) -> None:
    pool = Pool(2)
    frame = unpack(pool.put([b"x"], ["reader"]) or b"")._asdict()
    told, lied = (
        [READ.pack(said["number"] | way, said["slot"], said["generation"]) for way in (THROUGH_ZMQ, 0)]
        for said in (frame, frame | lie)
    )
    assert [pool.heard("reader", each) for each in lied] == [[], []]
    assert list(pool._turns._sent) == [frame["slot"]]
    assert [pool.heard("reader", each) for each in told] == [[frame["slot"]], []]
    assert list(pool._turns._sent) == []
    pool.close()
