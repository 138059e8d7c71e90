"""Small messages of a publisher in a hurry, several in one frame: none is late for long, lost, or out of order."""

import contextlib
import struct
import sys
import threading
import time
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

import eis.msgbus as mb
from eis.msgbus._wire.native import METADATA, WHOLE, form_filter, pack_batch, pack_stamp, read_batch, stream_prefix
from eis.msgbus.transports.zmq import batch, publishing
from eis.msgbus.transports.zmq.batch import ENOUGH, LARGEST, Batch, Flusher, Hurry
from eis.msgbus.transports.zmq.publishing import PublisherChannel
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import Sides, running, socket_of, until
from tests.transports.zmq.test_native import EPOCH, PREFIX, changed_over, new_publisher, receive, whole

MS = 1_000_000  # nanoseconds


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every publisher in a hurry, from its first message on, and let only the test flush."""
    monkeypatch.setattr(Hurry, "look", lambda hurry, *_: setattr(hurry, "on", True))
    monkeypatch.setattr(batch, "_TICK", 3600.0)
    monkeypatch.setattr("eis.msgbus.transports.zmq.publisher._LOOK_EVERY", 3600 * 10**9)


def flush(publisher: mb.Publisher) -> None:
    with socket_of(publisher).lock:
        socket_of(publisher).flush()


def hurry(publisher: mb.Publisher) -> None:
    """Have the publisher look, before its next message, whether it is in a hurry."""
    socket_of(publisher).look_at = 0


def publish(publisher: mb.Publisher, numbers: range) -> None:
    hurry(publisher)
    for number in numbers:
        publisher.publish({"n": number})


# The publisher


@pytest.mark.usefixtures("hurried")
def test_messages_in_a_hurry_share_a_frame(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    socket = raw(zmq.SUB, connect=plain_sides.publisher)
    for subscription in (form_filter(WHOLE, b"camera1"), b"\xff?12345678wcamera1"):
        socket.subscribe(subscription)
    changed_over(publisher, 1)
    assert socket.recv().startswith(b"\xff?12345678wcamera1")
    publish(publisher, range(10 * ENOUGH))
    flush(publisher)
    frames = [socket.recv()]
    while b'{"n":%d}' % (10 * ENOUGH - 1) not in frames[-1]:
        frames.append(socket.recv())
    assert sum(frame.count(b'{"n":') for frame in frames) == 10 * ENOUGH
    assert len(frames) <= 20


@pytest.mark.usefixtures("hurried")
def test_messages_that_shared_a_frame_have_their_own_numbers_and_times(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    before = time.time()
    publish(publisher, range(2 * ENOUGH))
    flush(publisher)
    messages = [subscriber.recv(5000) for _ in range(2 * ENOUGH)]
    assert [each.meta_data["n"] for each in messages] == list(range(2 * ENOUGH))
    assert [each.sequence for each in messages] == list(range(1, 2 * ENOUGH + 1))
    assert {each.subscribers for each in messages} == {1}
    times = [each.sent_at or 0 for each in messages]
    assert len(set(times)) == 2 * ENOUGH
    assert before - 1 <= min(times) <= max(times) <= time.time() + 1  # a busy machine may stop between two clocks
    assert all(0 < (each.latency or 0) < 5 for each in messages)
    assert (subscriber.stats.received, subscriber.stats.lost, subscriber.stats.malformed) == (2 * ENOUGH, 0, 0)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("large", ["metadata", "blob"])
def test_what_does_not_fit_goes_out_behind_what_waits(
    server: mb.MsgbusContext, client: mb.MsgbusContext, large: str
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    publish(publisher, range(3))
    publisher.publish({"n": 3, "text": "x" * LARGEST} if large == "metadata" else ({"n": 3}, bytes(1000)))
    assert receive(subscriber, 4) == [0, 1, 2, 3]


@pytest.mark.usefixtures("hurried")
def test_topics_of_one_socket_keep_their_common_order(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publishers = [server.new_publisher(topic) for topic in ("camera1", "camera10")]
    subscriber = client.new_subscriber("camera1")
    for publisher in publishers:
        changed_over(publisher, 1)
    for begin, publisher in enumerate(publishers):
        publish(publisher, range(begin, begin + 1))
    for number in range(2, 8):
        publishers[number // 2 % 2].publish({"n": number})
    flush(publishers[0])
    assert receive(subscriber, 8) == list(range(8))


@pytest.mark.usefixtures("hurried")
def test_topics_that_take_turns_stop_to_gather(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publishers = [server.new_publisher(topic) for topic in ("camera1", "camera10")]
    subscriber = client.new_subscriber("camera1")
    for publisher in publishers:
        changed_over(publisher, 1)
        publish(publisher, range(ENOUGH))
    for number in range(8):
        publishers[number % 2].publish({"n": number})
    assert socket_of(publishers[0]).gatherer is None
    assert receive(subscriber, 2 * ENOUGH + 8) == [*range(ENOUGH), *range(ENOUGH), *range(8)]


@pytest.mark.usefixtures("hurried")
def test_what_waits_goes_out_when_the_publisher_is_closed(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    subscriber = client.new_subscriber("camera1")
    with server.new_publisher("camera1") as publisher:
        changed_over(publisher, 1)
        publish(publisher, range(5))
    assert receive(subscriber, 5) == list(range(5))


@pytest.mark.usefixtures("hurried")
def test_who_subscribes_gets_nothing_that_was_published_before(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    publisher, early = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    publish(publisher, range(3))
    late = client.new_subscriber("camera1")
    changed_over(publisher, 2)
    publish(publisher, range(3, 5))
    flush(publisher)
    assert receive(early, 5) == [0, 1, 2, 3, 4]
    assert receive(late, 2) == [3, 4]
    assert (early.stats.lost, late.stats.lost) == (0, 0)


@pytest.mark.usefixtures("hurried")
def test_messages_do_not_gather_for_peers_that_want_other_frames(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    old = raw(zmq.SUB, connect=plain_sides.publisher)
    old.subscribe("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publish(publisher, range(1, 2))
    assert old.recv_multipart() == [b"camera1\0", b"\0", b"\1", b'{"n":1}']


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("limit", [{"queue_bytes": 1_000_000}, {"max_message_bytes": 10_000}], ids=str)
def test_messages_do_not_gather_where_a_batch_is_too_large(
    plain_sides: Sides, opened: Open, limit: dict[str, int]
) -> None:
    publisher = opened({**plain_sides.server, **limit}).new_publisher("camera1")
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    changed_over(publisher, 1)
    publish(publisher, range(1, 2))
    assert subscriber.recv(5000) == {"n": 1}


@pytest.mark.usefixtures("hurried")
def test_messages_do_not_gather_when_the_system_has_no_thread_left(
    server: mb.MsgbusContext, client: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        publish(publisher, range(1, 2))
    assert subscriber.recv(5000) == {"n": 1}


@pytest.mark.usefixtures("hurried")
def test_every_message_of_a_batch_for_which_there_is_no_room_is_counted(plain_sides: Sides, opened: Open) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    subscriber = opened({**plain_sides.client, "zmq_recv_hwm": 1}).new_subscriber("camera1")
    changed_over(publisher, 1)
    publish(publisher, range(100 * ENOUGH))  # until nothing more fits, and then some
    until(lambda: _publish_until_dropped(publisher))
    assert publisher.stats.dropped >= ENOUGH
    while subscriber.stats.received + subscriber.stats.lost < publisher.stats.sent:
        publisher.publish({"n": -1})
        flush(publisher)
        _drain(subscriber)
    assert subscriber.stats.lost > 0
    assert subscriber.stats.received + subscriber.stats.lost == publisher.stats.sent


def _publish_until_dropped(publisher: mb.Publisher) -> bool:
    publish(publisher, range(100 * ENOUGH))
    return publisher.stats.dropped > 0


def _drain(subscriber: mb.Subscriber[Any]) -> None:
    while True:
        try:
            subscriber.recv(100)
        except mb.ReceiveTimeout:
            return


@pytest.mark.usefixtures("hurried")
def test_closing_by_a_signal_handler_sends_what_waits(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    socket = socket_of(publisher)
    with socket.lock:
        publish(publisher, range(2))
        socket.busy = True  # as in the middle of a message, where a signal came
        publisher.close()
        socket.flush()
    assert receive(subscriber, 2) == [0, 1]
    assert socket.closed


# Who sees that nothing waits for long


def test_what_waits_goes_out_by_itself_soon(
    server: mb.MsgbusContext, client: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hurry, "look", lambda hurry, *_: setattr(hurry, "on", True))
    monkeypatch.setattr("eis.msgbus.transports.zmq.publisher._LOOK_EVERY", 3600 * 10**9)
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)

    def gathers_no_more() -> bool:  # it may wait for an answer each time
        publish(publisher, range(5))
        assert receive(subscriber, 5) == list(range(5))
        until(lambda: not socket_of(publisher)._flusher.active)
        return not publisher._channel._hurries  # type: ignore[attr-defined]

    for _ in range(2):
        until(gathers_no_more)  # not at once, if the supervisor was the one who looked for subscriptions, and sent it


def test_flusher_sees_what_begins_to_wait_while_it_goes_to_sleep() -> None:
    waiting: list[object] = [None, "new", "new", "new"]
    flushed: list[object] = []
    flusher = Flusher(lambda: waiting.pop(0) if len(waiting) > 1 else waiting[0], flushed.append)
    flusher.active = True
    assert flusher._tick()
    assert flusher.active
    assert flusher._tick()
    assert flushed == ["new"]


def test_flusher_leaves_alone_what_came_meanwhile() -> None:
    waiting = iter(["old", "new"])
    flushed: list[object] = []
    assert Flusher(lambda: next(waiting), flushed.append)._tick()
    assert flushed == []


def test_flusher_does_not_send_what_was_sent_meanwhile(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    socket_of(publisher)._flush(["gone"])
    publisher.publish({"n": 1})
    assert receive(subscriber, 1) == [1]
    assert subscriber.stats.malformed == 0


@pytest.mark.parametrize("when", range(8))
def test_flusher_ends_when_its_own_thread_says_so_in_the_middle_of_a_wait(when: int) -> None:
    events = iter(range(100))

    def collect(*_: object) -> None:  # as garbage collection does, at any time, when it finds a forgotten bus
        if next(events) == when:
            sys.setprofile(None)
            flusher.end()

    def waiting() -> None:
        sys.setprofile(collect)

    flusher = Flusher(waiting, lambda _: None)
    assert flusher.ready()
    flusher.begin()
    thread = flusher._thread
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()


def test_thread_ends_with_its_publisher(plain_sides: Sides, opened: Open) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    socket = socket_of(publisher)
    assert socket.may_gather()
    assert socket.may_gather()
    thread = socket._flusher._thread
    assert thread is not None
    publisher.close()
    thread.join(10)
    assert not thread.is_alive()


# When to hurry


def test_hurry_begins_with_many_messages_in_a_millisecond_and_ends_with_a_pause() -> None:
    hurry, now = Hurry(), 10**15
    hurry.look(now, 1)
    assert not hurry.on
    hurry.look(now + 1 * MS, 33)
    assert hurry.on
    hurry.look(now + 2 * MS, 64)
    assert not hurry.on
    hurry.look(now + 3 * MS, 1000)
    assert hurry.on
    hurry.look(now + 10 * MS, 10_000)
    assert not hurry.on


def test_hurry_is_calm_for_longer_each_time_that_messages_often_wait_in_vain() -> None:
    hurry, now, count = Hurry(), 10**15, 0
    pauses = []
    for _ in range(9):
        hurry.waited_in_vain(now)
        began = now
        while not hurry.on:
            now, count = now + MS, count + 100
            hurry.look(now, count)
        pauses.append((now - began) // MS)
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1000, 1000]
    for _ in range(100):
        now, count = now + MS, count + 100
        hurry.look(now, count)
    hurry.waited_in_vain(now)
    assert hurry.on
    hurry.waited_in_vain(now)
    assert not hurry.on
    hurry.look(now + 9 * MS, count)
    hurry.look(now + 10 * MS, count + 100)
    assert hurry.on


def test_publisher_in_a_real_hurry_loses_nothing(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    room = threading.Semaphore(400)
    total = 20_000

    def publish_all() -> None:
        for number in range(total):
            assert room.acquire(timeout=10)
            publisher.publish({"n": number})

    with running(publish_all):
        for number in range(total):
            assert subscriber.recv(5000) == {"n": number}
            room.release()
    assert (subscriber.stats.received, subscriber.stats.lost, publisher.stats.dropped) == (total, 0, 0)


# The subscriber


def several(*messages: bytes, sequence: int = 1, prefix: bytes = PREFIX) -> bytes:
    now = time.monotonic_ns()
    first = (sequence, time.time_ns(), now, 0, 0, 0, 1)
    return pack_batch(prefix, first, [now + place for place in range(len(messages))], messages)


STAMPED = len(PREFIX) + len(pack_stamp(1, 1, 1, 0, 0, 0, 1))
BAD = {
    "cut in its lengths": lambda frame: frame[: STAMPED + 3],
    "shorter than it says": lambda frame: frame[:-1],
    "longer than it says": lambda frame: frame + b"x",
    "with a blob": lambda frame: PREFIX + pack_stamp(2, 1, 1, 1, 0, 2, 1) + frame[STAMPED:],
    "with a descriptor": lambda frame: PREFIX + pack_stamp(2, 1, 1, 0, 1, 2, 1) + frame[STAMPED:],
}


@pytest.mark.parametrize("met", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("bad", BAD)
def test_batch_that_breaks_the_rules_is_refused_whole(
    plain_sides: Sides, opened: Open, raw: Raw, bad: str, met: bool
) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    if met:
        publisher.send(whole(1, b'{"n":1}'))
        assert receive(subscriber, 1) == [1]
    publisher.send(BAD[bad](several(b'{"n":2}', b'{"n":3}', sequence=2)))
    publisher.send(several(b'{"n":4}', b'{"n":5}', sequence=4))
    assert receive(subscriber, 2) == [4, 5]
    assert (subscriber.stats.malformed, subscriber.stats.received) == (1, 2 + met)


def test_batch_with_frames_behind_it_is_refused_whole(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    publisher.send_multipart([several(b'{"n":2}', b'{"n":3}'), b"blob"])
    publisher.send(several(b'{"n":4}', b'{"n":5}', sequence=4))
    assert receive(subscriber, 2) == [4, 5]
    assert subscriber.stats.malformed == 1


def test_message_that_breaks_the_rules_inside_a_batch_is_refused_alone(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    publisher.send(several(b'{"n":1}', b"{", b'{"n":3}'))
    assert receive(subscriber, 2) == [1, 3]
    assert (subscriber.stats.malformed, subscriber.stats.received, subscriber.stats.lost) == (1, 2, 0)


def test_batches_that_were_lost_are_counted_message_by_message(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    publisher.send(several(b'{"n":1}', b'{"n":2}'))
    publisher.send(several(b'{"n":13}', b'{"n":14}', sequence=13))
    publisher.send(whole(16, b'{"n":16}'))
    assert receive(subscriber, 5) == [1, 2, 13, 14, 16]
    assert (subscriber.stats.received, subscriber.stats.lost) == (5, 11)


@pytest.mark.parametrize("frames", [1, 40])
def test_queue_is_counted_as_libzmq_does(plain_sides: Sides, opened: Open, raw: Raw, frames: int) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    for number in range(frames):
        publisher.send(several(b"{}", b"{}", b"{}", sequence=1 + 3 * number))
    for _ in range(3 * frames):
        subscriber.recv(5000)
    assert subscriber._channel._read_so_far() == frames  # type: ignore[attr-defined]


def test_subscriber_of_metadata_alone_gets_batches_too(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher = server.new_publisher("camera1")
    subscriber = client.new_subscriber("camera1", metadata_only=True)
    changed_over(publisher, 1)
    channel: Any = publisher._channel
    channel._send(several(b'{"n":1}', b'{"n":2}', prefix=channel._topic.prefixes[METADATA]), 0)
    assert receive(subscriber, 2) == [1, 2]


# The frame


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=600)), min_size=1, max_size=255),
    st.integers(0, 2**62),
)
def test_batch_is_read_as_it_was_packed(messages: list[tuple[int, bytes]], first: int) -> None:
    times = [first, *(first + time for time, _ in messages[1:])]
    frame = pack_batch(PREFIX, (7, 8, first, 0, 0, 0, 1), times, [data for _, data in messages])
    deltas, data = read_batch(frame, STAMPED, len(messages))
    assert list(deltas) == [time - first for time in times]
    assert data == [data for _, data in messages]


@given(st.binary(max_size=2000), st.integers(1, 255))
def test_any_bytes_are_a_batch_or_refused(data: bytes, count: int) -> None:
    try:
        times, messages = read_batch(data, 0, count)
    except struct.error:
        return
    assert (len(times), len(messages), sum(map(len, messages))) == (count, count, len(data) - 6 * count)


def test_streams_of_another_life_do_not_mix(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    publisher.send(several(b'{"n":1}', b'{"n":2}'))
    other = stream_prefix(WHOLE, b"camera1\0", EPOCH + 1)
    publisher.send(several(b'{"n":1}', b'{"n":2}', prefix=other))
    assert receive(subscriber, 4) == [1, 2, 1, 2]
    assert (subscriber.stats.lost, subscriber.stats.restarts) == (0, 1)


@pytest.mark.usefixtures("hurried")
def test_largest_batch_of_the_longest_name_is_taken_by_a_peer_with_the_smallest_limit(
    plain_sides: Sides, opened: Open
) -> None:
    limit = {"max_message_bytes": batch.LONGEST}
    name = "camera1" + "x" * 504
    publisher = opened({**plain_sides.server, **limit}).new_publisher(name)
    subscriber = opened({**plain_sides.client, **limit}).new_subscriber("camera1")
    changed_over(publisher, 1)
    hurry(publisher)
    data = {"n": 1, "x": "x" * (LARGEST - 15)}
    for _ in range(2 * ENOUGH):
        publisher.publish(data)
    flush(publisher)
    assert receive(subscriber, 2 * ENOUGH) == [1] * (2 * ENOUGH)
    assert socket_of(publisher).gatherer is None


@pytest.mark.usefixtures("hurried")
def test_interrupted_message_costs_no_other(
    server: mb.MsgbusContext, client: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    socket = socket_of(publisher)
    with monkeypatch.context() as patched, socket.lock:
        publish(publisher, range(2))

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(batch.Batch, "frame", interrupt)
        with pytest.raises(KeyboardInterrupt):
            socket.flush()
    publish(publisher, range(2, 4))
    flush(publisher)
    assert receive(subscriber, 4) == [0, 1, 2, 3]
    assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)


CALLS = {
    "begins to gather": (Batch, "begin"),
    "has the flusher called": (Flusher, "begin"),
    "is about to send": (PublisherChannel, "send_batch"),
    "makes a frame": (Batch, "frame"),
}


@pytest.mark.parametrize("waiting", [0, ENOUGH - 1])
@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_in_a_publish_costs_that_message_at_most(
    server: mb.MsgbusContext, client: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch, call: str, waiting: int
) -> None:
    monkeypatch.setattr(Hurry, "look", lambda hurry, *_: setattr(hurry, "on", True))
    monkeypatch.setattr("eis.msgbus.transports.zmq.publisher._LOOK_EVERY", 3600 * 10**9)
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    published: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(Flusher, "begin", lambda _: None)  # or it might send what waits too early for the test
        while len(publisher._channel.batch.messages) != waiting:  # type: ignore[attr-defined]  # or the supervisor has
            flush(publisher)
            numbers = range(len(published), len(published) + waiting)
            publish(publisher, numbers)
            published += numbers
    interrupt_once(monkeypatch, *CALLS[call])
    first = len(published)
    for number in range(first, first + 3):
        with contextlib.suppress(KeyboardInterrupt):
            publisher.publish({"n": number})
            published.append(number)
    received = receive(subscriber, 1)
    while received[-1] != published[-1]:
        received += receive(subscriber, 1)
    assert set(published) <= set(received)
    assert received == sorted(set(received))


def interrupt_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """Let Ctrl-C come when `name` is called next in this thread."""
    real, thread = getattr(owner, name), threading.get_ident()
    happened: list[str] = []

    def call(*args: Any) -> Any:
        if happened or threading.get_ident() != thread:
            return real(*args)
        happened.append(name)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, call)


@pytest.mark.usefixtures("hurried")
def test_what_a_signal_handler_publishes_goes_out_before_what_it_interrupted(
    server: mb.MsgbusContext, client: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    publish(publisher, range(1))
    flush(publisher)
    times = [time.monotonic_ns(), time.monotonic_ns() - MS]
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "monotonic_ns", lambda: times[0])
        publisher.publish({"n": 1})
        del times[0]
        publisher.publish({"n": 2})
    flush(publisher)
    messages = [subscriber.recv(5000) for _ in range(3)]
    assert [each.meta_data["n"] for each in messages] == [0, 1, 2]
    sent = [each.sent_at or 0 for each in messages]
    assert 0.0009 < sent[1] - sent[2] < 0.0011


@pytest.mark.usefixtures("hurried")
def test_nothing_is_sent_when_ctrl_c_came_before_the_first_message_that_was_to_wait(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    socket_of(publisher).gatherer = publisher._channel  # type: ignore[assignment]
    flush(publisher)
    publish(publisher, range(1))
    flush(publisher)
    assert receive(subscriber, 1) == [0]
    assert subscriber.stats.malformed == 0


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("waiting", [1, 8])
def test_making_way_is_in_vain_where_few_have_gathered(
    server: mb.MsgbusContext, client: mb.MsgbusContext, waiting: int
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    with socket_of(publisher).lock:
        publish(publisher, range(waiting))
        publisher.publish(({"n": waiting}, b"blob"))
    assert publisher._channel._hurries == (waiting == 8)  # type: ignore[attr-defined]
    assert receive(subscriber, waiting + 1) == list(range(waiting + 1))


@pytest.mark.usefixtures("hurried")
def test_messages_do_not_gather_while_a_subscriber_is_left_out(
    server: mb.MsgbusContext, client: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    channel: Any = publisher._channel
    channel.stalled = channel._special = True
    monkeypatch.setattr(socket_of(publisher), "stirred", lambda _: False)
    publish(publisher, range(1))  # counted as dropped: it would be counted again with its batch
    assert socket_of(publisher).gatherer is None
    assert publisher.stats.dropped == 1
    assert receive(subscriber, 1) == [0]
