"""Which slot is used next: one that everybody has read, the last one first, else what was published longest ago."""

import gc
import os
import socket
import struct

import pytest

from eis.msgbus.transports.zmq.shared import Fetcher
from eis.msgbus.transports.zmq.shared.descriptor import READ, THROUGH_ZMQ, unpack
from eis.msgbus.transports.zmq.shared.readers import Reader
from tests.transports.zmq.shared.conftest import Publish, Side, content

CAMERA, OTHER = b"camera1\0", b"other\0"


def hear(side: Side) -> None:
    for reader, said in side.hand_out.hear():
        side.pool.heard(reader, said)


def put(side: Side, name: bytes = CAMERA) -> bytes:
    hear(side)
    descriptor = side.pool.put([b"x"], side.hand_out.readers(name))
    assert descriptor is not None
    return descriptor


def slot(descriptor: bytes) -> int:
    return unpack(descriptor).slot


def test_slot_that_everybody_has_read_is_used_again_at_once(side: Side) -> None:
    readers = [side.fetcher(), side.fetcher()]
    first = put(side)
    assert [content(reader, first) for reader in readers] == [(b"x",)] * 2
    assert slot(put(side)) == slot(first)


def test_slot_that_somebody_has_still_to_read_waits_for_its_turn(side: Side) -> None:
    reader, slow = side.fetcher(), side.fetcher()
    published = [put(side) for _ in range(3)]
    for descriptor in published:
        content(reader, descriptor)
    assert [slot(put(side)) for _ in range(4)] == [0, 1, 2, 0]
    assert content(slow, published[0]) is None


def test_slot_is_free_when_who_has_not_read_it_is_gone(side: Side) -> None:
    reader, leaving = side.fetcher(), side.fetcher()
    put(side)
    second = put(side)
    content(reader, second)
    leaving.close()
    assert slot(put(side)) == slot(second)


def test_who_reads_another_topic_is_not_waited_for(side: Side) -> None:
    nonce = os.urandom(8)
    other = Fetcher.connect(side.path, nonce)
    assert other is not None
    side.fetchers.append(other)
    assert side.hand_out.serve(nonce, b"oth")
    reader = side.fetcher()
    for _ in range(2):
        assert content(reader, put(side)) == (b"x",)
    assert slot(put(side)) == 0
    assert [reader.prefix for reader in side.hand_out.readers(OTHER)] == [b"oth", b""]
    assert [reader.prefix for reader in side.hand_out.readers(CAMERA)] == [b""]


def test_what_a_reader_says_wrongly_changes_nothing(side: Side) -> None:
    side.fetcher()
    (reader,) = side.hand_out.readers(CAMERA)
    first = unpack(put(side))
    right = first.number, first.slot, first.generation
    for wrong in ((right[0] + 1, *right[1:]), (right[0], 99, right[2]), (right[0], first.slot, right[2] - 1)):
        for more in (0, THROUGH_ZMQ):
            assert side.pool.heard(reader, READ.pack(wrong[0] + more, *wrong[1:])) == []
    side.pool.heard(7, READ.pack(*right))
    assert slot(put(side)) != first.slot
    assert side.pool.heard(reader, READ.pack(right[0] + THROUGH_ZMQ, *right[1:]) * 2) == [first.slot] * 2
    assert slot(put(side)) != first.slot
    side.pool.heard(reader, READ.pack(*right) * 2)
    assert slot(put(side)) == first.slot


def test_lie_of_a_reader_overwrites_nothing_that_another_reads(side: Side) -> None:
    liar, reader = side.fetcher(), side.fetcher()
    published = put(side)
    lease = reader.lease(published)
    assert lease is not None
    asked = unpack(published)
    for each in side.hand_out.readers(CAMERA):
        side.pool.heard(each, READ.pack(asked.number, asked.slot, asked.generation))
    assert slot(put(side)) != asked.slot
    assert bytes(lease.views[0]) == b"x"
    assert liar.connected


@pytest.mark.parametrize("said", [b"no record", b""])
def test_who_says_anything_else_is_hung_up_on(said: bytes, side: Side) -> None:
    nonce = os.urandom(8)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(side.path)
        stranger.send(nonce)
        assert side.hand_out.serve(nonce)
        if said:
            stranger.send(said)
        else:
            stranger.shutdown(socket.SHUT_WR)
        assert [said for _, said in side.hand_out.hear()] == [b""]
        stranger.settimeout(5)
        assert stranger.recv(1) == b""
    assert side.hand_out.readers(CAMERA) == ()


def test_who_resets_the_connection_is_forgotten(side: Side) -> None:
    reader = side.fetcher()
    put(side)
    connection = reader._connection
    assert connection is not None
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # with a memory in it that was never taken
    assert [said for _, said in side.hand_out.hear()] == [b""]


def test_loan_is_used_again_when_it_is_read_and_dropped_in_any_order(publish: Publish) -> None:
    side = publish(slots=2)
    reader = side.fetcher()
    for read_first in (True, False):
        hear(side)
        loan = side.pool.loan(1)
        assert loan is not None
        loan.view[:] = b"y"
        published = side.pool.publish(loan, side.hand_out.readers(CAMERA))
        if read_first:
            assert content(reader, published) == (b"y",)
            hear(side)
            assert slot(put(side)) != slot(published or b"")
        del loan
        gc.collect()
        if not read_first:
            assert content(reader, published) == (b"y",)
            assert slot(put(side)) == slot(published or b"")


def test_reader_that_closed_says_nothing_more(side: Side) -> None:
    reader = side.fetcher()
    lease = reader.lease(put(side))
    assert lease is not None
    reader.close()
    lease.release()
    assert [said for _, said in side.hand_out.hear()] == [b""]


def test_child_of_a_fork_says_nothing_about_what_its_parent_reads(side: Side) -> None:
    reader = side.fetcher()
    lease = reader.lease(put(side), noticed=True)
    assert lease is not None
    (memory,) = reader._memories.values()
    memory.be_inherited()  # as in the child, that has the connection too
    lease.release()
    assert list(side.hand_out.hear()) == []


def test_reader_of_whom_a_signal_handler_has_heard_already_is_passed_over(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = side.fetcher()
    content(reader, put(side))
    served = dict(side.hand_out._served)
    side.hand_out._served.clear()  # what the handler's own look found out
    assert list(side.hand_out.hear()) == []
    side.hand_out._served.update(served)
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "hear", lambda _: None)
        assert list(side.hand_out.hear()) == []
    assert len(list(side.hand_out.hear())) == 2  # through ZeroMQ, and let go of
