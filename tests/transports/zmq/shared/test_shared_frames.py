"""Frames through shared memory: by themselves between new peers on one machine, and never instead of a message."""

import asyncio
import contextlib
import errno
import gc
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._waiting import Deadline
from eis.msgbus._wire.native import SHARED, Ask, Hello, pack_stamp, stream_prefix
from eis.msgbus.transports.zmq import queues
from eis.msgbus.transports.zmq.shared import HandOut, Pool, hand_out_path, readers
from eis.msgbus.transports.zmq.shared.descriptor import pack
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import (
    FRAME,
    GOOD,
    Sides,
    frame,
    publish,
    shared,
    socket_of,
    tcp_sides,
    until,
)


def through_the_socket(publisher: mb.Publisher, subscriber: mb.Subscriber[Any]) -> None:
    """See that frames come in the native form, and not through shared memory."""
    publisher.wait_for_subscribers(1, 5000)
    number, deadline = 0, Deadline(5)
    while subscriber.stats.form != "whole" or number < 5:  # the first ones may come before it is answered
        assert deadline.left()
        publish(publisher, number)
        assert subscriber.recv(5000) == ({"n": number}, frame(number))
        assert subscriber.stats.form != "shared"
        number += 1


def pool_of(publisher: mb.Publisher) -> Pool:
    sharing = socket_of(publisher)._sharing
    assert sharing is not None
    return sharing._pool


# What comes


def test_frames_are_shared_by_themselves(bus: mb.MsgbusContext) -> None:
    publisher, subscribers = bus.new_publisher("camera1"), [bus.new_subscriber("camera1") for _ in range(3)]
    count = shared(publisher, *subscribers)
    for number in range(count, 50):
        publish(publisher, number)
        for subscriber in subscribers:
            assert subscriber.recv(5000) == ({"n": number}, frame(number))
    for subscriber in subscribers:
        stats = subscriber.stats
        assert (stats.form, stats.received, stats.lost, stats.malformed) == ("shared", 50, 0, 0)
    assert publisher.stats.unshared == 0


def test_messages_of_every_kind_arrive(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    one, two, small = frame(1), frame(2, 70_001), b"small"
    for message, expected in (
        ({"n": 1}, ({"n": 1}, None)),
        (({"n": 1}, small), ({"n": 1}, small)),
        (({"n": 1}, one, small, two), ({"n": 1}, [one, small, two])),
        (one, (None, one)),
        ([one, two], ({}, [one, two])),
        (({"n": 1}, b"", one), ({"n": 1}, [b"", one])),
        (small, (None, small)),
    ):
        publisher.publish(message)
        assert subscriber.recv(5000) == expected
    assert subscriber.stats.malformed == 0


@pytest.mark.parametrize("off", ["server", "client"])
@pytest.mark.parametrize("said", [{"shared_memory": False}, {"native": False}])
def test_who_is_told_not_to_shares_nothing(sides: Sides, opened: Open, off: str, said: dict[str, Any]) -> None:
    publisher = opened({**sides.server, **(said if off == "server" else {})}).new_publisher("camera1")
    subscriber = opened({**sides.client, **(said if off == "client" else {})}).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(3):
        publish(publisher, number)
        assert subscriber.recv(5000) == ({"n": number}, frame(number))
    assert subscriber.stats.form == ("plain" if "native" in said else "whole")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("yes", "shared_memory: expected bool | object, got str"),
        ({"slots": 1}, "shared_memory.slots: expected int >= 2"),
        ({"max_bytes": 0}, "shared_memory.max_bytes: expected int >= 1"),
        ({"slot": 4}, "shared_memory.slot: unknown key; did you mean 'slots'?"),
    ],
)
def test_shared_memory_that_is_said_wrong_is_refused(sides: Sides, said: Any, problem: str) -> None:
    with pytest.raises(mb.InvalidConfig) as caught:
        mb.MsgbusContext({**sides.server, "shared_memory": said})
    assert problem in str(caught.value)


def test_old_and_new_subscribers_get_the_same_frames(
    bus: mb.MsgbusContext, sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    metadata = bus.new_subscriber("camera1", metadata_only=True)
    whole = opened({**sides.client, "shared_memory": False}).new_subscriber("camera1")
    old = raw(zmq.SUB, connect=sides.publisher)
    old.subscribe("camera1")
    publisher.wait_for_subscribers(4, 5000)
    for number in range(5):
        publish(publisher, number)
        assert subscriber.recv(5000) == whole.recv(5000) == ({"n": number}, frame(number))
        assert metadata.recv(5000) == ({"n": number}, None)
        assert old.recv_multipart()[3:] == [b'{"n":%d}' % number, frame(number)]
    assert (metadata.stats.form, whole.stats.form, subscriber.stats.form) == ("metadata", "whole", "shared")


def test_latest_frame_is_the_newest_and_the_others_are_skipped(bus: mb.MsgbusContext) -> None:
    publisher, every, latest = (
        bus.new_publisher("camera1"),
        bus.new_subscriber("camera1"),
        bus.new_subscriber("camera1", keep="latest"),
    )
    count = shared(publisher, every, latest)
    for number in range(count, count + 5):
        publish(publisher, number)
        every.recv(5000)
    until(lambda: latest.stats.skipped == 4)
    assert latest.recv(5000) == ({"n": count + 4}, frame(count + 4))


def test_asyncio_subscriber_shares_frames_too(bus: mb.MsgbusContext, sides: Sides) -> None:
    publisher = bus.new_publisher("camera1")

    async def main() -> None:
        async with aio.MsgbusContext(sides.client) as client:
            subscriber = client.new_subscriber("camera1")
            publisher.wait_for_subscribers(1, 5000)
            for number in range(4):
                publish(publisher, number)
                with await subscriber.recv(5) as envelope:
                    assert envelope.blob == frame(number)
            assert subscriber.stats.form == "shared"

    asyncio.run(main())


# Loans


def test_loan_is_not_copied(bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    monkeypatch.delattr(Pool, "put")
    for number in range(40):
        loan = publisher.loan((100, 200, 15))
        loan.array[:] = number
        publisher.publish(({"n": number}, loan))
        del loan
        assert subscriber.recv(5000) == ({"n": number}, frame(number, 300_000))
    assert (publisher.stats.unshared, subscriber.stats.lost) == (0, 0)


def test_loan_has_the_shape_and_type_that_was_asked_for(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    loan = publisher.loan((2, 50_000), "float32")
    assert (loan.array.shape, loan.array.dtype, len(loan), repr(loan)) == (
        (2, 50_000),
        np.float32,
        400_000,
        "<Loan of 400000 bytes>",
    )
    loan.array[:] = [[1.5], [2.5]]
    publisher.publish(loan)
    view = subscriber.recv(5000).view
    assert view is not None
    assert np.frombuffer(view, np.float32).reshape(2, -1)[:, 0].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("size", [-1, (3, -1), "big", (1.5,), 1.5, None])
def test_loan_of_no_size_is_refused(bus: mb.MsgbusContext, size: Any) -> None:
    with pytest.raises(mb.MessageBusError, match="loan: expected a number of bytes or a shape"):
        bus.new_publisher("camera1").loan(size)


@pytest.mark.parametrize("dtype", ["nonsense", object])
def test_loan_of_no_plain_type_is_refused(bus: mb.MsgbusContext, dtype: Any) -> None:
    with pytest.raises(mb.MessageBusError, match="loan: expected"):
        bus.new_publisher("camera1").loan(10, dtype)


def test_loan_of_a_closed_publisher_is_refused(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("camera1")
    channel = publisher._channel
    publisher.close()
    with pytest.raises(mb.MessageBusError, match="publisher camera1 is closed"):
        publisher.loan(FRAME)
    with pytest.raises(mb.MessageBusError):
        channel.lend(FRAME)


@pytest.mark.parametrize("kind", ["memory", "tcp", "ipc", "nobody shares", "small"])
def test_loan_is_ordinary_memory_where_none_is_shared(kind: str, sides: Sides, opened: Open, free_ports: Any) -> None:
    size = 100 if kind == "small" else FRAME
    if kind == "tcp":
        sides = tcp_sides(free_ports(2), "tcp")
    config = {"type": "memory"} if kind == "memory" else sides.server
    publisher = opened(config).new_publisher("camera1")
    other = {"shared_memory": False} if kind in ("ipc", "nobody shares") else {}
    subscriber = opened({"type": "memory"} if kind == "memory" else {**sides.client, **other}).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(3):
        loan = publisher.loan(size)
        loan.view[:] = frame(number, size)
        publisher.publish(({"n": number}, loan))
        assert subscriber.recv(5000) == ({"n": number}, frame(number, size))


def test_loan_reaches_old_subscribers_and_those_of_another_publisher(
    bus: mb.MsgbusContext, sides: Sides, raw: Raw
) -> None:
    publisher, other = bus.new_publisher("camera1"), bus.new_publisher("other")
    subscriber, elsewhere = bus.new_subscriber("camera1"), bus.new_subscriber("other")
    shared(publisher, subscriber)
    old = raw(zmq.SUB, connect=sides.publisher)
    old.subscribe("camera1")
    publisher.wait_for_subscribers(2, 5000)
    other.wait_for_subscribers(1, 5000)
    loan = publisher.loan(FRAME)
    loan.view[:] = frame(7)
    publisher.publish(loan)
    other.publish(loan)  # once more: it is copied
    assert old.recv_multipart()[3] == frame(7)
    assert subscriber.recv(5000).blob == elsewhere.recv(5000).blob == frame(7)


# How long it stays


def test_kept_array_stays_as_it_is_when_its_publisher_is_gone(sides: Sides, opened: Open, start: Start) -> None:
    code = """
publisher = mb.MsgbusContext(config).new_publisher("camera1")
publisher.wait_for_subscribers(1, 10_000)
for number in range(100):
    publisher.publish(({"n": number}, bytes([number]) * 300_000))
    if sys.stdin.readline() == "":
        break
"""
    subscriber = opened(sides.client).new_subscriber("camera1")
    program = start(code, sides.server, stdin=subprocess.PIPE)
    assert program.process.stdin is not None
    kept: list[tuple[int, Any]] = []
    for number in range(30):
        envelope = subscriber.recv(10_000)
        if subscriber.stats.form == "shared" and len(kept) < 5:
            view = envelope.view
            assert view is not None
            kept.append((number, np.frombuffer(view, np.uint8)[::1000]))
        del envelope
        program.process.stdin.write("next\n")
        program.process.stdin.flush()
    program.process.kill()
    program.process.wait(10)
    subscriber.close()
    assert len(kept) == 5
    assert [array.tolist() for _, array in kept] == [[number] * 300 for number, _ in kept]


def test_frames_that_are_held_are_passed_over_and_then_the_socket_is_used(sides: Sides, opened: Open) -> None:
    publisher = opened({**sides.server, "shared_memory": {"slots": 3}}).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    count = shared(publisher, subscriber)
    held = []
    for number in range(count, count + 6):
        publish(publisher, number)
        held.append((number, subscriber.recv(5000).view))
    assert publisher.stats.unshared == 3
    assert all(view is not None and bytes(view) == frame(number) for number, view in held)
    held.clear()
    publish(publisher, 1)
    assert subscriber.recv(5000).blob == frame(1)
    assert (publisher.stats.unshared, subscriber.stats.lost) == (3, 0)


def test_released_frame_is_free_though_the_envelope_is_kept(sides: Sides, opened: Open) -> None:
    publisher = opened({**sides.server, "shared_memory": {"slots": 2}}).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    count, kept = shared(publisher, subscriber), []
    for number in range(count, count + 6):
        publish(publisher, number)
        with subscriber.recv(5000) as envelope:
            assert envelope.view is not None
            assert bytes(envelope.view) == frame(number)
        assert [envelope.view, envelope.blob, envelope.meta_data] == [None, None, {"n": number}]
        envelope.release()  # once more
        kept.append(envelope)
    assert publisher.stats.unshared == 0


def test_envelope_without_shared_blobs_is_released_too() -> None:
    with mb.MsgEnvelope({"n": 1}, b"blob") as envelope:
        assert envelope.blob == b"blob"
    assert envelope == ({"n": 1}, None)


def test_overtaken_frames_count_as_lost(sides: Sides, opened: Open) -> None:
    publisher = opened({**sides.server, "shared_memory": {"slots": 4}}).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    count = shared(publisher, subscriber)
    for number in range(count, count + 12):
        publish(publisher, number)
    got = [subscriber.recv(5000) for _ in range(3)]  # of the first one was read while it was there, the last ones are
    assert [each.blob for each in got] == [frame(each.meta_data["n"]) for each in got]
    publish(publisher, 0)
    stats = subscriber.stats
    while stats.received + stats.lost < publisher.stats.sent:
        subscriber.recv(5000)
        stats = subscriber.stats
    assert stats.lost >= 12 - 4 - 1
    assert (stats.received + stats.lost, stats.malformed) == (publisher.stats.sent, 0)


def test_larger_frames_get_larger_memory(bus: mb.MsgbusContext) -> None:
    publisher, subscribers = bus.new_publisher("camera1"), [bus.new_subscriber("camera1") for _ in range(2)]
    shared(publisher, *subscribers)
    for number, size in enumerate((FRAME, 3 * FRAME, 10 * FRAME, FRAME)):
        publish(publisher, number, size)
        for subscriber in subscribers:
            assert subscriber.recv(5000) == ({"n": number}, frame(number, size))
    assert [subscriber.stats.form for subscriber in subscribers] == ["shared"] * 2
    assert publisher.stats.unshared == 0


def test_frames_larger_than_the_memory_go_through_the_socket(sides: Sides, opened: Open) -> None:
    publisher = opened({**sides.server, "shared_memory": {"max_bytes": 1_000_000}}).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    shared(publisher, subscriber)
    publish(publisher, 1, 2_000_000)
    assert subscriber.recv(5000).blob == frame(1, 2_000_000)
    assert (publisher.stats.unshared, subscriber.stats.form) == (1, "shared")


def test_memory_and_descriptors_are_back_when_subscribers_have_come_and_gone(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("camera1")

    def visit() -> None:
        with bus.new_subscriber("camera1") as subscriber:
            until(lambda: publisher._channel.subscribers() == 1)
            shared(publisher, subscriber)
        until(lambda: publisher._channel.subscribers() == 0)

    def descriptors() -> int:
        gc.collect()
        publish(publisher, 0)
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    for _ in range(3):
        visit()
    before = descriptors()
    for _ in range(20):
        visit()
    until(lambda: descriptors() <= before)


# Connections


def test_frames_are_shared_again_when_the_publisher_was_killed(sides: Sides, opened: Open, start: Start) -> None:
    code = """
publisher = mb.MsgbusContext(config).new_publisher("camera1")
publisher.wait_for_subscribers(1, 10_000)
for number in range(1000):
    publisher.publish(({"n": number}, bytes([number % 251]) * 300_000))
    threading.Event().wait(0.01)
"""
    subscriber = opened(sides.client).new_subscriber("camera1")
    for restarts in range(3):
        program = start(code, sides.server)
        while (subscriber.stats.restarts, subscriber.stats.form) != (restarts, "shared"):
            assert subscriber.recv(10_000).blob
        program.process.kill()
        program.process.wait(10)
        subscriber._channel._memory._try_at = float("-inf")  # type: ignore[attr-defined]  # not so soon again, else
    assert subscriber.stats.malformed == 0


def test_frames_are_shared_again_when_the_hand_out_lost_the_subscriber(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    subscriber._channel._memory._try_at = float("-inf")  # type: ignore[attr-defined]
    sharing = socket_of(publisher)._sharing
    assert sharing is not None
    assert sharing._hand_out is not None
    for number in tuple(sharing._hand_out._served):
        sharing._hand_out._forget(number)
    publish(publisher, 1, 4 * FRAME)  # in memory that the subscriber does not get
    with pytest.raises(mb.ReceiveTimeout):
        subscriber.recv(200)
    assert subscriber.stats.lost == 1
    hand_out = sharing._hand_out
    until(lambda: publisher._channel.subscribers() and hand_out._served)
    for number in range(3):
        publish(publisher, number, 4 * FRAME)
        assert subscriber.recv(5000) == ({"n": number}, frame(number, 4 * FRAME))
    assert (subscriber.stats.form, subscriber.stats.lost) == ("shared", 1)


def test_subscriber_that_nobody_hands_memory_to_gets_frames_through_the_socket(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HandOut, "serve", lambda *_: False)
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    through_the_socket(publisher, subscriber)
    assert subscriber.stats.lost == 0


def test_frames_go_through_the_socket_where_the_hand_out_cannot_be(
    bus: mb.MsgbusContext, sides: Sides, caplog: pytest.LogCaptureFixture
) -> None:
    path = hand_out_path(sides.publisher.removeprefix("ipc://"))
    assert path is not None
    Path(path).mkdir()
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(3):
        publish(publisher, number)
        assert subscriber.recv(5000) == ({"n": number}, frame(number))
    assert subscriber.stats.form == "whole"
    assert sum("frames go through the socket, not through shared memory" in text for text in caplog.messages) == 1
    Path(path).rmdir()


def test_frames_go_through_the_socket_to_a_subscriber_without_one_more_descriptor(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("select.epoll", none_left)
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    through_the_socket(publisher, subscriber)


def test_frames_go_through_the_socket_where_the_path_is_too_long(sides: Sides, opened: Open) -> None:
    longest = "x" * (107 - len(sides.server["socket_dir"]) - 1)
    config = {**sides.server, "": {"socket_file": longest}}
    publisher, subscriber = opened(config).new_publisher("camera1"), opened(config).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(3):
        publish(publisher, number)
        assert subscriber.recv(5000) == ({"n": number}, frame(number))
    assert subscriber.stats.form == "whole"


def test_hand_out_is_gone_with_its_publisher(bus: mb.MsgbusContext, sides: Sides) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    publisher.close()
    assert list(Path(sides.server["socket_dir"]).iterdir()) == []


# Who may have it


def for_users(sides: Sides, *users: int) -> dict[str, Any]:
    """Return the configuration of a publisher whose frames these users may have."""
    return {**sides.server, "camera1": {"socket_file": "own", "allowed_users": list(users)}}


def test_who_may_not_connect_gets_no_memory(sides: Sides, opened: Open) -> None:
    bus = opened(for_users(sides, 0))
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    socket = socket_of(publisher)
    assert [socket._admits(uid, uid, 1) for uid in (0, 12345)] == [True, False]


def test_memory_is_made_anew_when_somebody_may_no_longer_have_it(sides: Sides, opened: Open) -> None:
    bus = opened(for_users(sides, 0, 12345))
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    subscriber._channel._memory._try_at = float("-inf")  # type: ignore[attr-defined]
    before, pool = subscriber.recv, pool_of(publisher)
    publish(publisher, 5)
    kept = before(5000).view
    bus.reload(for_users(sides, 0))
    until(lambda: pool_of(publisher) is not pool)
    until(lambda: subscriber.stats.reconnects)
    publisher.wait_for_subscribers(1, 5000)
    while not pool_of(publisher).nbytes or subscriber.stats.form != "shared":
        publish(publisher, 6)
        assert subscriber.recv(5000).blob == frame(6)
    assert kept is not None
    assert bytes(kept) == frame(5)


def test_frames_are_shared_again_though_one_is_published_just_when_everybody_is_cut_off(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = opened(for_users(sides, 0, 12345))
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    subscriber._channel._memory._try_at = float("-inf")  # type: ignore[attr-defined]
    socket, topic = socket_of(publisher), publisher._channel._topic  # type: ignore[attr-defined]
    was_cut = socket.was_cut

    def cut_and_publish() -> None:
        was_cut()
        assert topic.shared_with  # who is cut off is not known to be gone yet
        publish(publisher, 5)

    monkeypatch.setattr(socket, "was_cut", cut_and_publish)
    bus.reload(for_users(sides, 0))
    until(lambda: subscriber.stats.reconnects)
    publisher.wait_for_subscribers(1, 5000)
    shown, deadline = None, Deadline(5)
    while subscriber.stats.form != "shared" or shown != frame(6):  # the other one comes if the connection lasts so long
        assert deadline.left()
        publish(publisher, 6)
        shown = subscriber.recv(5000).blob


def test_memory_stays_when_somebody_more_may_have_it(sides: Sides, opened: Open) -> None:
    bus = opened(for_users(sides, 0))
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    pool = pool_of(publisher)
    bus.reload(for_users(sides, 0, 12345))
    until(lambda: socket_of(publisher)._admits(12345, 12345, 1))
    assert pool_of(publisher) is pool


# Peers that break the rules

EPOCH = 0x1234
PREFIX = stream_prefix(SHARED, b"camera1\0", EPOCH)


def message(descriptor: bytes, blobs: int = 1) -> bytes:
    return PREFIX + pack_stamp(1, 1, 1, blobs, len(descriptor), 0, 1) + descriptor + b"{}"


@pytest.mark.parametrize(
    "descriptor",
    [
        b"x",
        b"x" * 32,
        pack(1, 1, 99, 1, (10,)),
        pack(1, 1, 0, 0, (10,)),
        pack(1, 1, 0, 9, (10,)),
        pack(1, 1, 0, 1, (2**40,)),
    ],
)
@pytest.mark.parametrize("fetched", [True, False])
def test_forged_descriptor_is_refused_and_the_next_message_arrives(
    sides: Sides, opened: Open, raw: Raw, descriptor: bytes, fetched: bool
) -> None:
    publisher = raw(zmq.XPUB, bind=sides.publisher)
    subscriber = opened(sides.client).new_subscriber("camera1")
    for _ in range(3):
        publisher.recv()
    ask: Ask = subscriber._channel._reader.ask  # type: ignore[attr-defined]
    path = hand_out_path(sides.publisher.removeprefix("ipc://"))
    assert path is not None
    hand_out = HandOut(path)
    pool = Pool(2, 10**7, epoch=1, made=hand_out.offer)
    pool.put([b"x" * 100])
    if fetched:
        publisher.send(Hello(EPOCH, "w", "", {}, shared=True).answer(ask))
        with pytest.raises(mb.ReceiveTimeout):
            subscriber.recv(50)
        ask = subscriber._channel._reader.ask  # type: ignore[attr-defined]
        assert ask.form == SHARED
        assert hand_out.serve(ask.nonce)
    else:  # it has not asked for it
        spy = subscriber._channel.link.socket  # type: ignore[attr-defined]
        spy.subscribe(PREFIX)
        publisher.recv()
    for frames in ([message(descriptor)], GOOD):
        publisher.send_multipart(frames)
    assert subscriber.recv(5000) == {"n": 1}
    stats = subscriber.stats
    assert (stats.malformed + stats.lost, stats.received) == (1, 1)
    hand_out.close()


def test_subscriber_that_fell_behind_goes_on_with_the_newest(sides: Sides, opened: Open) -> None:
    publisher = opened({**sides.server, "shared_memory": {"slots": 4}}).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    shared(publisher, subscriber)
    for number in range(200):
        publish(publisher, number)
    deadline = Deadline(5)
    while subscriber.recv(1000).meta_data["n"] != 199:
        assert deadline.left()
    for number in range(200, 205):
        publish(publisher, number)
        assert subscriber.recv(1000) == ({"n": number}, frame(number))
    assert subscriber.stats.received + subscriber.stats.lost == publisher.stats.sent


def test_no_memory_is_made_as_long_as_it_is_handed_out_nowhere(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("camera1")
    sharing = socket_of(publisher)._sharing
    assert sharing is not None
    assert sharing.share(b"camera1\0", [bytes(FRAME)]) is None
    sharing.hear()
    sharing.renew()
    assert (pool_of(publisher).nbytes, sharing.full) == (0, 0)
    assert sharing.offered()
    assert sharing.share(b"camera1\0", [b"small"]) is None
    assert sharing.share(b"camera1\0", [bytes(FRAME)]) is not None


def test_frames_go_through_the_socket_when_no_descriptors_are_left(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(HandOut, "serve", fail)
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    through_the_socket(publisher, subscriber)
    assert subscriber.stats.reconnects == 0


def test_blob_larger_than_the_limit_is_refused_in_shared_memory_too(sides: Sides, opened: Open) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened({**sides.client, "max_message_bytes": 2 * FRAME}).new_subscriber("camera1")
    shared(publisher, subscriber)
    publish(publisher, 1, 3 * FRAME)
    publish(publisher, 2)
    assert subscriber.recv(5000) == ({"n": 2}, frame(2))
    assert subscriber.stats.malformed == 1


def test_queue_is_not_longer_than_the_user_says(sides: Sides, opened: Open) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened({**sides.client, "zmq_recv_hwm": 5}).new_subscriber("camera1")
    count = shared(publisher, subscriber)
    for number in range(count, count + 5):
        publish(publisher, number)
        subscriber.recv(5000)
    assert subscriber._channel.link.socket.get(zmq.RCVHWM) <= 5  # type: ignore[attr-defined]


def test_subscriber_goes_on_when_the_first_messages_were_overtaken(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They count for the length of its queue: a wrong one would stop it for ever."""
    monkeypatch.setattr(readers.Reader, "notify", lambda *_: False)
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened({**sides.client, "queue_bytes": 8 * FRAME}).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    channel: Any = subscriber._channel
    real, left = channel._reader._lease, iter(range(17))
    monkeypatch.setattr(channel._reader, "_lease", lambda *data: real(*data) if next(left, None) is None else None)
    for number in range(300):
        publish(publisher, number)
        if number % 10 == 9:
            until(lambda: subscriber.stats.received + subscriber.stats.lost > 0 or channel._reader.batch)

    def last_comes() -> bool:
        """Publish it again: whoever is left out because a queue is full misses the newest."""
        publish(publisher, 299)
        with contextlib.suppress(mb.ReceiveTimeout):
            return bool(subscriber.recv(100).meta_data["n"] == 299)
        return False

    until(last_comes)


def test_frames_go_through_the_socket_when_the_hand_out_cannot_be_reached(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.transports.zmq.shared.frames.Fetcher.connect", lambda *_: None)
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    through_the_socket(publisher, subscriber)


def test_child_of_a_fork_lets_go_of_the_hand_out(bus: mb.MsgbusContext, sides: Sides) -> None:
    """What the child does with its copy, done here to the only one."""
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    sharing = socket_of(publisher)._sharing
    assert sharing is not None
    assert sharing._hand_out is not None
    hand_out, sharing._hand_out = sharing._hand_out, None
    path = hand_out_path(sides.publisher.removeprefix("ipc://"))
    assert path in hand_out.let_go()
    assert not hand_out.serve(b"12345678")
    hand_out.close()
    assert path is not None
    HandOut(path).close()  # nobody holds the lock any more


def test_queue_is_made_longer_for_memory_with_more_slots(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = (
        opened(sides.server).new_publisher("camera1"),
        opened(sides.client).new_subscriber("camera1"),
    )
    shared(publisher, subscriber)
    channel: Any = subscriber._channel
    socket, queue, slots = channel.link.socket, channel._queue, channel._memory.slots
    with channel.lock:
        length = queue.messages = slots // 4  # as if the first messages had been large ones
        read = queue._read + length
        assert not queue.lengthen(socket, read - 1, slots)  # it has not been read through
        with monkeypatch.context() as patch:
            patch.setattr(queues, "set_length", lambda *_: False)  # a connection is about to end
            assert queue.lengthen(socket, read, slots)
        assert queue.messages == length
        until(lambda: queue.lengthen(socket, read, slots) and queue.messages > length)
        assert queue.messages == 2 * length == socket.get(zmq.RCVHWM)


def test_stream_whose_subscribers_keep_up_takes_few_slots_in_turn(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("camera1")
    subscribers = [bus.new_subscriber("camera1"), bus.new_subscriber("cam"), bus.new_subscriber("camera10")]
    publisher.wait_for_subscribers(2, 5000)
    for number in range(20):
        publisher.publish(({"n": number}, bytes(FRAME)))
        for subscriber in subscribers[:2]:
            with subscriber.recv(5000) as envelope:
                assert envelope.meta_data == {"n": number}
    sharing = socket_of(publisher)._sharing
    assert sharing is not None
    memory = sharing._pool._memory
    assert memory is not None
    used = [generation for generation in memory.generations if generation]
    assert len(used) <= 4


def test_signal_handler_is_refused_while_memory_is_lent(bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    sharing = socket_of(publisher)._sharing
    assert sharing is not None
    lend = sharing.lend

    def interrupted(nbytes: int) -> Any:
        with pytest.raises(mb.MessageBusError, match="in use"):
            publisher.publish({"n": 0})
        return lend(nbytes)

    monkeypatch.setattr(sharing, "lend", interrupted)
    loan = publisher.loan(FRAME)
    publisher.publish(({"n": 1}, loan))
    assert subscriber.recv(5000).meta_data == {"n": 1}
