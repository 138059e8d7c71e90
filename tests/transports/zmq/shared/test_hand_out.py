"""Where subscribers fetch memory: who gets it, and that nobody else takes time, room or descriptors."""

import os
import resource
import select
import socket
import stat
from pathlib import Path

import pytest

from eis.msgbus.exceptions import AddressInUse, InvalidMessage
from eis.msgbus.transports.zmq.shared import Fetcher, HandOut, Pool, fetcher, hand_out, hand_out_path
from eis.msgbus.transports.zmq.shared.accept import accept
from eis.msgbus.transports.zmq.shared.memory import Memory, Shape, make
from eis.msgbus.transports.zmq.shared.readers import LARGEST_NOTICE
from tests.transports.zmq.shared.conftest import SMALLEST, Side, content, descriptors, mapped_bytes

NONCE = b"12345678"


def connected(side: Side, nonce: bytes = NONCE) -> Fetcher:
    found = Fetcher.connect(side.path, nonce)
    assert found is not None
    side.fetchers.append(found)
    return found


def caller(side: Side, said: bytes = b"") -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(10)
    peer.connect(side.path)
    peer.send(said)
    return peer


def test_file_lies_beside_the_socket_file_and_is_for_its_owner_and_group(side: Side) -> None:
    path = Path(side.path)
    assert path.name == ".camera1.frames"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    side.hand_out.close()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(("length", "fits"), [(107, True), (108, False)])
def test_there_is_no_path_where_no_socket_address_holds_it(length: int, fits: bool) -> None:
    path = "/" + "d" * (length - len("/") - len("/..frames") - len("camera1")) + "/camera1"
    found = hand_out_path(path)
    assert (found is not None) == fits
    assert found is None or len(found) == length


def test_second_hand_out_at_a_path_is_refused(side: Side) -> None:
    with pytest.raises(AddressInUse):
        HandOut(side.path)


def test_only_the_nonce_that_a_subscription_says_is_served(side: Side) -> None:
    first, second = connected(side, b"nonce..1"), connected(side, b"nonce..2")
    side.pool.put([b"x"])
    assert not side.hand_out.serve(b"nonce..3")
    assert side.hand_out.serve(b"nonce..2")
    published = side.pool.put([b"frame"])
    assert content(second, published) == (b"frame",)
    assert content(first, published) is None
    assert side.hand_out.serve(b"nonce..1")
    assert content(first, published) == (b"frame",)
    assert not side.hand_out.serve(b"nonce..1")


def test_subscriber_gets_every_memory_that_is_made_later(side: Side) -> None:
    early, late = side.fetcher(), None
    for size in (1, 2, 4, 8):
        published = side.pool.put([bytes(size * SMALLEST)])
        late = side.fetcher()
        assert content(early, published) == content(late, published) == (bytes(size * SMALLEST),)


def test_subscriber_that_comes_back_to_reading_takes_all_memories_and_keeps_the_newest(side: Side) -> None:
    subscriber = side.fetcher()
    published = [side.pool.put([bytes(size * SMALLEST)]) for size in (1, 2, 4)]
    assert content(subscriber, published[0]) == (bytes(SMALLEST),)
    assert content(subscriber, published[2]) == (bytes(4 * SMALLEST),)
    assert content(subscriber, published[1]) is None
    assert mapped_bytes() == 2 * side.pool.nbytes


def test_notices_beside_a_memory_that_is_looked_for_are_kept(side: Side) -> None:
    subscriber = side.fetcher()
    (reader,) = side.hand_out.readers(b"camera1")
    assert reader.notify(b"one")
    published = side.pool.put([b"frame"])
    assert reader.notify(b"two")
    assert content(subscriber, published) == (b"frame",)
    assert [subscriber.notice() for _ in range(3)] == [b"one", b"two", None]


def test_who_is_not_admitted_is_hung_up_on(socket_dir: Path) -> None:
    asked = []

    def admits(uid: int, gid: int, pid: int) -> bool:
        asked.append((uid, gid, pid))
        return False

    refusing = HandOut(str(socket_dir / "frames"), admits=admits)
    subscriber = Fetcher.connect(refusing._file.path, NONCE)
    assert subscriber is not None
    assert not refusing.serve(NONCE)
    subscriber.take()
    assert not subscriber.connected
    assert asked == [(os.geteuid(), os.getegid(), os.getpid())]
    refusing.close()


@pytest.mark.parametrize("said", [b"1234567", b"123456789", NONCE * 2, b"x" * 100_000])
def test_who_says_anything_but_a_nonce_is_hung_up_on(side: Side, said: bytes) -> None:
    before = descriptors()
    with caller(side) as peer:
        peer.setblocking(False)
        peer.send(said)
        assert not side.hand_out.serve(NONCE)
        assert descriptors() == before + 1
    assert side.hand_out.serve(NONCE) is False


def test_who_says_a_second_nonce_is_hung_up_on(side: Side) -> None:
    before = descriptors()
    with caller(side, NONCE) as peer:
        assert not side.hand_out.serve(b"another.")
        peer.send(b"another.")
        assert not side.hand_out.serve(b"another.")
        assert descriptors() == before + 1


def test_who_says_nothing_takes_no_time_and_is_forgotten_when_it_hangs_up(side: Side) -> None:
    before = descriptors()
    with caller(side):
        assert content(side.fetcher(), side.pool.put([b"x"])) == (b"x",)
    with caller(side, NONCE):
        assert not side.hand_out.serve(b"another.")
    side.close()
    assert descriptors() < before


def test_subscriber_that_hung_up_before_it_was_served_is_forgotten(side: Side) -> None:
    before = descriptors()
    caller(side, NONCE).close()
    assert not side.hand_out.serve(b"another.")
    with caller(side, NONCE):
        assert not side.hand_out.serve(b"another.")
    assert not side.hand_out.serve(NONCE)
    assert descriptors() == before


def test_who_waits_longest_makes_room_when_too_many_wait(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_out, "_WAITING", 5)
    waiting = [connected(side, bytes([n]) * 8) for n in range(8)]
    before = descriptors()
    assert not side.hand_out.serve(b"another.")
    assert not side.hand_out.serve(b"another.")
    assert descriptors() == before + 5
    assert [n for n in range(8) if side.hand_out.serve(bytes([n]) * 8)] == [3, 4, 5, 6, 7]
    for each in waiting:
        each.take()
    assert [each.connected for each in waiting] == [False] * 3 + [True] * 5


def test_flood_of_strangers_does_not_keep_out_who_is_there_when_its_subscription_is_read(side: Side) -> None:
    strangers = [caller(side) for _ in range(50)]
    subscriber = connected(side)
    while (peer := Fetcher.connect(side.path, b"stranger")) is not None:
        side.fetchers.append(peer)
    assert Fetcher.connect(side.path, NONCE) is None  # the kernel lets no more wait: another form then
    before = descriptors()
    assert side.hand_out.serve(NONCE)
    assert descriptors() <= before + hand_out._WAITING
    assert content(subscriber, side.pool.put([b"x"])) == (b"x",)
    for stranger in strangers:
        stranger.close()


def test_1000_subscribers_come_and_go_and_nothing_of_them_stays(side: Side) -> None:
    steady = side.fetcher()
    assert content(steady, side.pool.put([b"x"])) == (b"x",)
    before = descriptors(), mapped_bytes()
    for _ in range(1000):
        subscriber = side.fetcher()
        published = side.pool.put([b"frame"])
        assert content(subscriber, published) == content(steady, published) == (b"frame",)
        subscriber.close()
        side.fetchers.remove(subscriber)
        del subscriber
    side.hand_out.forget_gone()
    assert (descriptors(), mapped_bytes()) == before


def test_subscriber_that_takes_nothing_is_forgotten_at_last(side: Side) -> None:
    memory = make(Shape(1, 1, 2, SMALLEST))
    lazy, before = side.fetcher(), descriptors()
    for _ in range(1000):
        side.hand_out.offer(memory)
    assert descriptors() == before - 1  # the connection to it
    with pytest.raises(InvalidMessage, match="each once"):
        lazy.take()
    assert not lazy.connected


def test_subscriber_keeps_a_bounded_number_of_memories(side: Side) -> None:
    subscriber = side.fetcher()
    for number in range(65):
        side.hand_out.offer(make(Shape(1, number, 2, SMALLEST)))
    with pytest.raises(InvalidMessage, match="expected at most 64 shared memories"):
        subscriber.take()
    assert not subscriber.connected


def test_memory_that_cannot_be_sent_is_not_served(side: Side) -> None:
    side.pool.put([b"x"])
    subscriber = connected(side)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert not side.hand_out.serve(b"another.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert not side.hand_out.serve(NONCE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    subscriber.take()
    assert not subscriber.connected


def test_subscriber_finds_no_hand_out_where_none_is(socket_dir: Path) -> None:
    before = descriptors()
    assert Fetcher.connect(str(socket_dir / "nobody"), NONCE) is None
    assert Fetcher.connect("/" + "x" * 200, NONCE) is None
    assert descriptors() == before


def test_subscriber_sees_that_the_publisher_is_gone_and_reads_on(side: Side) -> None:
    subscriber = side.fetcher()
    published = side.pool.put([b"frame"])
    lease = subscriber.lease(published or b"")
    side.close()
    subscriber.take()
    assert not subscriber.connected
    assert lease is not None
    assert bytes(lease.views[0]) == b"frame"


@pytest.mark.parametrize(
    ("said", "descriptors_sent", "problem"),
    [
        (b"\1", 0, "expected one descriptor, got 0"),
        (b"\1", 1, "another kind of file"),
        (b"", 1, "another kind of file"),
        (b"x" * 9000, 1, "another kind of file"),
    ],
)
def test_subscriber_hangs_up_on_who_sends_no_memory(said: bytes, descriptors_sent: int, problem: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    subscriber, before = Fetcher(ours), descriptors()
    pipe = os.pipe()
    socket.send_fds(theirs, [said], [pipe[0]] * descriptors_sent)
    with pytest.raises(InvalidMessage, match=problem):
        subscriber.lease(b"\1" + bytes(31))
    assert not subscriber.connected
    theirs.close()
    os.close(pipe[0])
    os.close(pipe[1])
    assert descriptors() == before - 2


def test_descriptors_that_are_sent_along_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    inherited: list[bool] = []

    def accepted(descriptor: int) -> Memory:
        inherited.append(os.get_inheritable(descriptor))
        return accept(descriptor)

    monkeypatch.setattr(fetcher, "accept", accepted)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    subscriber = Fetcher(ours)
    memory = make(Shape(1, 1, 2, SMALLEST))
    before = descriptors()
    socket.send_fds(theirs, [b"\1"], [memory.descriptor] * 100)
    subscriber.take()
    assert subscriber.slots == 2
    assert descriptors() == before + 1
    assert inherited == [False]
    theirs.close()
    subscriber.close()


@pytest.mark.parametrize("size", [LARGEST_NOTICE, LARGEST_NOTICE + 1, 100_000])
def test_subscriber_hangs_up_on_who_sends_a_notice_that_is_too_large(size: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    subscriber = Fetcher(ours)
    theirs.send(b"x" * size)
    if size <= LARGEST_NOTICE:
        assert subscriber.notice() == b"x" * size
    else:
        with pytest.raises(InvalidMessage, match="expected a notice of at most 8192 bytes, got more"):
            subscriber.notice()
    assert subscriber.connected == (size <= LARGEST_NOTICE)
    theirs.close()
    subscriber.close()


def test_connection_that_is_reset_is_one_that_ended() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    subscriber = Fetcher(ours)
    ours.send(b"never read")
    theirs.close()
    subscriber.take()
    assert not subscriber.connected


def test_pool_without_a_hand_out_makes_memory_for_nobody() -> None:
    pool = Pool(2)
    assert pool.put([b"x"]) is not None
    pool.close()


def test_who_connects_again_reads_what_is_on_its_way_and_says_nothing_before_it_is_served(side: Side) -> None:
    first = side.fetcher()
    published = [side.pool.put([bytes([n])]) for n in range(2)]
    assert content(first, published[0]) == (b"\0",)
    again = connected(side)
    again.go_on(first)
    first.close()
    assert content(again, published[1]) == (b"\1",)
    assert side.hand_out.serve(NONCE)  # would be refused if it had said more than its nonce
    again.tell(select.epoll())
    last = side.pool.put([b"\2"])
    assert content(again, last) == (b"\2",)
    assert [len(said) for _, said in side.hand_out.hear()] == [16, 16, 0]  # and the end of the first


def test_who_is_hung_up_on_again_and_again_keeps_a_bounded_number_of_memories(side: Side) -> None:
    subscribers = [side.fetcher()]
    before = descriptors()
    for turn in range(4):
        for number in range(40):
            side.hand_out.offer(make(Shape(turn, number, 2, SMALLEST)))
        subscribers[-1].take()
        subscribers.append(connected(side))
        subscribers[-1].go_on(subscribers[-2])
        subscribers[-2].close()
        assert side.hand_out.serve(NONCE)
    assert descriptors() <= before + 64 + 2 * 2  # and the last memory, at both ends, with their connection


def test_what_came_before_the_end_is_read_though_the_other_side_has_not_read_all() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    subscriber = Fetcher(ours)
    ours.send(b"never read")  # so the kernel tells of a reset, and that first
    theirs.send(b"a notice")
    theirs.close()
    assert subscriber.notice() == b"a notice"
    assert subscriber.notice() is None
    assert not subscriber.connected
