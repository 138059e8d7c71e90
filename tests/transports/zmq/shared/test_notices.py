"""Frames of which subscribers are told beside ZeroMQ: in the order of publishing, each once, and none silently lost."""

import asyncio
import contextlib
import random
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._waiting.loops import give_way
from eis.msgbus._wire.native import SHARED, Ask, Hello, Stamped, pack_stamp, stream_prefix
from eis.msgbus.transports.zmq import queues
from eis.msgbus.transports.zmq.queues import set_length
from eis.msgbus.transports.zmq.reader import MessageReader
from eis.msgbus.transports.zmq.shared.hand_out import HandOut
from eis.msgbus.transports.zmq.shared.readers import LARGEST_NOTICE, Reader
from eis.msgbus.transports.zmq.subscriber import SubscriberChannel
from eis.msgbus.transports.zmq.topics import Topic
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import FRAME, Sides, frame, publish, shared, socket_of, until

STREAM = stream_prefix(SHARED, b"camera1\0", 1)
LESS = 70_000  # bytes; a slot takes 80 KiB, so that there are more of them than a connection holds notices


def topic_of(publisher: mb.Publisher) -> Topic:
    topic: Topic = publisher._channel._topic  # type: ignore[attr-defined]
    return topic


def channel_of(subscriber: mb.Subscriber[Any]) -> SubscriberChannel:
    channel = subscriber._channel
    assert isinstance(channel, SubscriberChannel)
    return channel


def hand_out_of(publisher: mb.Publisher) -> HandOut:
    sharing = socket_of(publisher)._sharing
    assert sharing is not None
    assert sharing._hand_out is not None
    return sharing._hand_out


def reader_of(publisher: mb.Publisher) -> Reader:
    (reader,) = hand_out_of(publisher)._served.values()
    return reader


def noticed(publisher: mb.Publisher, subscriber: mb.Subscriber[Any], number: int = 0) -> int:
    """Publish frames, and receive each, until one goes past ZeroMQ; return how many that took."""
    before, count = topic_of(publisher).noticed, 0
    while topic_of(publisher).noticed == before:
        publish(publisher, number + count)
        assert subscriber.recv(5000) == ({"n": number + count}, frame(number + count))
        subscriber._ready.clear()
        count += 1
        assert count < 50
    return count


def small(publisher: mb.Publisher, number: int) -> None:
    publisher.publish({"n": number})


def numbers(subscriber: mb.Subscriber[Any], count: int) -> list[int]:
    found = []
    for _ in range(count):
        envelope = subscriber.recv(5000)
        found.append(envelope.meta_data["n"])
        del envelope
    return found


def arrived(subscriber: mb.Subscriber[Any]) -> None:
    """Wait until something has come through ZeroMQ; the supervisor may have taken the news from the descriptor."""
    channel = channel_of(subscriber)
    with channel.lock:
        until(channel._has_news)
        channel.changed()  # to look makes the descriptor quiet


def hold(subscriber: mb.Subscriber[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what has come through ZeroMQ held, as if a notice had come just then. The caller has the lock."""
    channel = channel_of(subscriber)
    with monkeypatch.context() as patch:
        patch.setattr(channel._reader, "_waits", lambda: True)
        channel._read()
    assert channel._reader.held is not None


# Which way


def test_frames_go_past_zeromq_to_who_has_read_all_that_went_through_it(bus: mb.MsgbusContext) -> None:
    publisher, subscribers = bus.new_publisher("camera1"), [bus.new_subscriber("camera1") for _ in range(3)]
    count = shared(publisher, *subscribers)
    before = topic_of(publisher).noticed
    for number in range(count, count + 20):
        publish(publisher, number)
        for subscriber in subscribers:
            assert subscriber.recv(5000) == ({"n": number}, frame(number))
    assert topic_of(publisher).noticed == before + 20
    assert [(each.stats.lost, each.stats.received) for each in subscribers] == [(0, count + 20)] * 3
    assert all(each.stats.latency_p50 is not None for each in subscribers)


def test_frame_behind_an_unread_small_message_goes_through_zeromq_too(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    for number in range(20):
        before = topic_of(publisher).noticed
        small(publisher, 2 * number)
        publish(publisher, 2 * number + 1)
        assert topic_of(publisher).noticed == before
        assert numbers(subscriber, 2) == [2 * number, 2 * number + 1]
    noticed(publisher, subscriber)
    assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)


def test_messages_of_all_kinds_stay_in_order_whoever_is_how_far(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher, other = bus.new_publisher("camera1"), bus.new_publisher("camera10")
    readers = [bus.new_subscriber("camera1") for _ in range(3)]
    metadata = bus.new_subscriber("camera1", metadata_only=True)
    publisher.wait_for_subscribers(4, 5000)
    choose, sent, read = random.Random(7), {"camera1": 0, "camera10": 0}, [0] * 3
    found: list[dict[str, list[int]]] = [{"camera1": [], "camera10": []} for _ in readers]
    kinds: list[Callable[[int], Any]] = [
        lambda number: {"n": number},
        lambda number: ({"n": number}, bytes(1000)),
        lambda number: ({"n": number}, frame(number)),
        lambda number: ({"n": number}, frame(number, 100_000)),
        lambda number: ({"n": number, "text": "x" * LARGEST_NOTICE}, frame(number)),
        lambda number: [frame(number)] * 2,
    ]
    for _ in range(1500):
        stream = choose.choice((publisher, publisher, publisher, other))
        name = "camera1" if stream is publisher else "camera10"
        message = kinds[choose.choice((0, 1, 2, 2, 2, 3, 4))](sent[name])
        stream.publish(message)
        sent[name] += 1
        for number, subscriber in enumerate(readers):
            if choose.random() < 0.5 or sum(sent.values()) - read[number] > 5:
                while sum(sent.values()) > read[number] + choose.choice((0, 0, 0, 1, 2, 3)):
                    envelope = subscriber.recv(5000)
                    found[number][envelope.name or ""].append(envelope.meta_data["n"])
                    read[number] += 1
                    del envelope
    for number, subscriber in enumerate(readers):
        while read[number] < sum(sent.values()):
            envelope = subscriber.recv(5000)
            found[number][envelope.name or ""].append(envelope.meta_data["n"])
            read[number] += 1
        assert found[number] == {name: list(range(count)) for name, count in sent.items()}
        assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)
    assert 0 < topic_of(publisher).noticed < topic_of(publisher).sequence
    assert numbers(metadata, 1) == [0]


def test_more_frames_than_a_connection_holds_are_all_there_in_order(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    while not topic_of(publisher).noticed:
        publisher.publish(({"n": -1}, bytes(LESS)))
        assert numbers(subscriber, 1) == [-1]
    before = topic_of(publisher).noticed
    for number in range(700):
        publisher.publish(({"n": number}, bytes(LESS)))
    assert 0 < topic_of(publisher).noticed - before < 700
    assert numbers(subscriber, 700) == list(range(700))
    assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)
    assert publisher.stats.dropped == 0
    noticed(publisher, subscriber)


def test_frame_that_one_could_not_be_told_of_reaches_the_others_once(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscribers = bus.new_publisher("camera1"), [bus.new_subscriber("camera1") for _ in range(2)]
    count = shared(publisher, *subscribers)
    full, notify = hand_out_of(publisher).readers(b"camera1\0")[1], Reader.notify
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "notify", lambda self, notice: self is not full and notify(self, notice))
        publish(publisher, count)
    publish(publisher, count + 1)
    for subscriber in subscribers:
        assert numbers(subscriber, 2) == [count, count + 1]
        with pytest.raises(mb.NoMessage):
            subscriber.recv(0)
        assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)
        assert subscriber.stats.received == count + 2


def test_large_metadata_goes_through_zeromq(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    before = topic_of(publisher).noticed
    message = {"text": "x" * LARGEST_NOTICE}
    publisher.publish((message, frame(1)))
    assert subscriber.recv(5000) == (message, frame(1))
    assert topic_of(publisher).noticed == before


def test_connection_whose_subscription_has_ended_stands_for_no_other_subscription(bus: mb.MsgbusContext) -> None:
    publisher, subscriber, other = (
        bus.new_publisher("camera1"),
        bus.new_subscriber("camera1"),
        bus.new_subscriber("camera1"),
    )
    count = shared(publisher, subscriber, other)
    while not topic_of(publisher).noticed:
        publish(publisher, count)
        assert numbers(subscriber, 1) == numbers(other, 1) == [count]
        count += 1
    link = channel_of(other).link
    link.hold_off()  # its connection to the hand-out stays

    def alone() -> bool:
        link.touch()  # or else libzmq would not go on
        return publisher._channel.subscribers() == 1

    until(alone)
    ask = channel_of(subscriber)._reader.ask
    assert ask is not None
    hand_out_of(publisher).end(ask.nonce)
    publish(publisher, count)
    assert numbers(subscriber, 1) == [count]


def test_message_behind_a_notice_is_read_though_the_queue_got_longer_in_between(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    count = shared(publisher, subscriber)
    count += noticed(publisher, subscriber, count)
    channel = channel_of(subscriber)

    def set_length_late(socket: "zmq.Socket[bytes]", option: int, length: int) -> bool:
        if option == zmq.RCVHWM:
            small(publisher, count + 1)
            arrived(subscriber)  # and to look at the socket makes its descriptor quiet
        return set_length(socket, option, length)

    monkeypatch.setattr(queues, "set_length", set_length_late)
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)
    channel._queue.messages //= 2  # as when it was fitted to messages that came before the memory
    channel._queue._read = -channel._queue.messages
    publish(publisher, count)
    assert numbers(subscriber, 2) == [count, count + 1]


# In order


def test_small_message_waits_for_the_frames_that_were_published_before_it(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    for number in range(3):
        publish(publisher, number)
    small(publisher, 3)
    arrived(subscriber)
    assert numbers(subscriber, 4) == [0, 1, 2, 3]
    assert subscriber.stats.lost == 0


@pytest.mark.parametrize("kind", ["small", "batch", "blob", "too large", "strict"])
def test_message_is_held_when_frames_come_between_the_look_for_them_and_its_reading(
    kind: str, bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    channel = channel_of(subscriber)
    channel._reader._strict = kind == "strict"
    for number in range(3):
        publish(publisher, number)
    if kind == "batch":
        monkeypatch.setattr("eis.msgbus.transports.zmq.batch.FEW", 0)
        publisher._channel._hurries = True  # type: ignore[attr-defined]
        for number in range(3, 10):
            small(publisher, number)
        publisher._channel.subscribers()
    else:
        blob = {"small": None, "strict": None, "blob": b"x", "too large": b"x" * 60_000}[kind]
        publisher.publish({"n": 3} if blob is None else ({"n": 3}, blob))
    arrived(subscriber)
    look = channel._noticed
    looks = iter([lambda: False])
    monkeypatch.setattr(channel, "_noticed", lambda: next(looks, look)())  # noqa: PLW0108  # another one each time
    count = 10 if kind == "batch" else 4
    assert numbers(subscriber, count) == list(range(count))
    assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)


def test_message_that_comes_both_ways_is_taken_once_whichever_is_read_first(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscribers = bus.new_publisher("camera1"), [bus.new_subscriber("camera1") for _ in range(2)]
    count = shared(publisher, *subscribers)
    full, notify = hand_out_of(publisher).readers(b"camera1\0")[1], Reader.notify
    monkeypatch.setattr(Reader, "notify", lambda self, notice: self is not full and notify(self, notice))
    publish(publisher, count)
    for subscriber in subscribers:
        channel = channel_of(subscriber)
        arrived(subscriber)
        monkeypatch.setattr(channel._reader, "_waits", lambda: False)
        with channel.lock:
            channel._read()
        assert numbers(subscriber, 1) == [count]
        with pytest.raises(mb.NoMessage):
            subscriber.recv(0)
        stats = subscriber.stats
        assert (stats.received, stats.lost, stats.malformed) == (count + 1, 0, 0)


def test_small_message_that_was_counted_as_lost_is_left_out(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    channel = channel_of(subscriber)
    small(publisher, 1)
    assert numbers(subscriber, 1) == [1]
    channel._reader._stream.due += 1
    for number in (2, 3):
        small(publisher, number)
    assert numbers(subscriber, 1) == [3]
    channel._reader._stream.due += 5
    publisher._channel._hurries = True  # type: ignore[attr-defined]
    for number in range(4, 9):
        small(publisher, number)
    publisher._channel.subscribers()
    small(publisher, 9)
    publisher._channel.subscribers()
    assert numbers(subscriber, 1) == [9]


def test_topics_of_one_subscription_stay_in_order_though_the_program_has_not_read_yet(bus: mb.MsgbusContext) -> None:
    publisher, other = bus.new_publisher("camera1"), bus.new_publisher("camera10")
    subscriber = bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    memory = channel_of(subscriber)._memory
    assert memory is not None
    until(lambda: publisher._channel.subscribers() and memory.begun)
    publish(publisher, 1)
    small(other, 2)
    until(lambda: channel_of(subscriber)._reader.batch)
    assert numbers(subscriber, 2) == [1, 2]


def test_supervisor_does_not_turn_round_while_a_message_is_held(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    channel = channel_of(subscriber)
    small(publisher, 2)
    arrived(subscriber)
    with channel.lock:
        channel._queue.messages = 0
        hold(subscriber, monkeypatch)
        assert channel.settle()
    assert numbers(subscriber, 1) == [2]


def test_held_message_is_delivered_though_the_memory_is_given_up_meanwhile(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    channel = channel_of(subscriber)
    publisher.publish(({"n": 1}, b"blob"))
    arrived(subscriber)
    with channel.lock:
        hold(subscriber, monkeypatch)
        assert channel._memory is not None
        channel._memory.close()
    small(publisher, 2)
    assert numbers(subscriber, 2) == [1, 2]
    assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)


def test_what_is_taken_before_the_address_is_given_up_is_in_order(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    for number in range(3):
        publish(publisher, number)
    small(publisher, 3)
    arrived(subscriber)
    channel = channel_of(subscriber)
    channel.link.connect_anew()
    assert numbers(subscriber, 4) == [0, 1, 2, 3]
    before = topic_of(publisher).noticed
    while topic_of(publisher).noticed < before + 3:
        publish(publisher, 1)
        with contextlib.suppress(mb.ReceiveTimeout):  # nobody is there while it connects
            subscriber.recv(100)
    stats = subscriber.stats
    assert (stats.lost + stats.received, stats.malformed) == (topic_of(publisher).sequence, 0)


def test_answer_waits_for_the_frames_that_were_published_before_it() -> None:
    ask, waiting = Ask(b"12345678", SHARED, b""), [b"a notice"]
    greeted: list[Hello] = []
    answer = Hello(7, "w", "", {}).answer(ask)
    frames = [b"\xff behind it", answer]

    def recv(*_: Any) -> bytes:
        if not frames:
            raise zmq.Again
        return frames.pop()

    reader = MessageReader(
        recv,
        lambda: 0,
        has_news=lambda: False,
        greeted=greeted.append,
        lease=lambda *_: None,
        waits=lambda: bool(waiting),
    )
    reader.ask = ask
    assert not reader.read(idle=False)
    assert not reader.read(idle=False)  # nothing is read while it is held
    assert (reader.held, greeted) == (answer, [])
    reader.take_notice(waiting.pop())
    assert reader.take_held()
    assert (reader.held, [hello.epoch for hello in greeted], reader.batch) == (None, [7], [[b"a notice"]])
    assert not reader.take_held()
    assert len(frames) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_nothing_is_read_behind_an_answer_before_the_notices_that_it_lets_in(strict: bool) -> None:
    ask = Ask(b"12345678", SHARED, b"")
    waiting: list[Hello] = []
    frames = [STREAM + pack_stamp(2, 1, 1, 0, 0, 0, 1) + b"{}", Hello(1, "s", "", {"camera1": 0}).answer(ask)]

    def recv(*_: Any) -> bytes:
        return frames.pop()

    reader = MessageReader(
        recv,
        lambda: 0,
        has_news=lambda: True,
        greeted=waiting.append,
        lease=lambda *_: None,
        waits=lambda: bool(waiting),
    )
    reader.ask, reader._strict = ask, strict
    assert not reader.read(idle=False)
    assert len(frames) == len(waiting) == 1
    assert not reader.read(idle=False)
    assert reader.held is not None
    waiting.clear()
    reader.take_notice(STREAM + pack_stamp(1, 1, 1, 0, 0, 0, 1) + b"{}")
    assert reader.take_held()
    assert [message.stamp[0] for message in reader.batch if isinstance(message, Stamped)] == [1, 2]
    assert reader.streams.lost == 0


def test_flood_of_notices_does_not_keep_an_address_from_being_given_up(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    channel = channel_of(subscriber)
    monkeypatch.setattr("eis.msgbus.transports.zmq.subscriber._MOST_BATCHES", 3)
    for number in range(10):
        publish(publisher, number)
    small(publisher, 10)
    arrived(subscriber)
    with channel.lock:
        channel.drain()
    assert len(channel._reader.batch) == 4
    assert numbers(subscriber, 4) == [0, 1, 2, 10]
    stats = subscriber.stats
    assert stats.lost + stats.received == topic_of(publisher).sequence


# Coming and going


@pytest.mark.parametrize("form", ["whole", "shared"])
def test_who_could_not_be_answered_gets_no_notices_and_asks_again(
    form: str, bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, early = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    count, answer = shared(publisher, early), Hello.answer

    def unsent(self: Hello, ask: Any) -> bytes:
        if self.form == form[0]:
            raise zmq.Again
        return answer(self, ask)

    monkeypatch.setattr(Hello, "answer", unsent)
    subscriber = bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(2, 5000)
    for number in range(count, count + 10):
        publish(publisher, number)
        assert numbers(subscriber, 1) == numbers(early, 1) == [number]
    assert subscriber.stats.form == form
    monkeypatch.setattr(Hello, "answer", answer)
    if form == "shared":
        memory = channel_of(subscriber)._memory
        assert memory is not None
        assert not memory.begun
        memory._try_at = float("-inf")
        with pytest.raises(mb.NoMessage):
            subscriber.recv(0)
        until(lambda: publisher._channel.subscribers() == 2 and memory.connected)
        before, number = topic_of(publisher).noticed, count + 10
        while topic_of(publisher).noticed == before:
            publish(publisher, number)
            assert numbers(subscriber, 1) == numbers(early, 1) == [number]
            number += 1
    assert (subscriber.stats.lost, early.stats.lost) == (0, 0)


def test_frames_stay_in_order_when_the_memory_is_fetched_again_while_others_wait_in_zeromq(
    bus: mb.MsgbusContext,
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    for number in range(0, 100, 2):
        small(publisher, number)
        publish(publisher, number + 1)
    memory, hand_out = channel_of(subscriber)._memory, hand_out_of(publisher)
    assert memory is not None
    memory._try_at = float("-inf")
    for fileno in tuple(hand_out._served):
        hand_out._forget(fileno)
    found = numbers(subscriber, 2)  # sees the end, asks again, and reads on
    until(lambda: publisher._channel.subscribers() and hand_out._served)
    for number in range(100, 105):
        publish(publisher, number)
    while subscriber.stats.lost + subscriber.stats.received < topic_of(publisher).sequence:
        found += numbers(subscriber, 1)
    assert found == sorted(found)
    assert found[-1] == 104
    assert subscriber.stats.lost <= 5  # who is gone waits for no slot: the last five may have been made in those


def test_who_asks_while_libzmq_leaves_somebody_out_is_not_told_of_frames_yet(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    count = shared(publisher, subscriber)
    monkeypatch.setattr(publisher._channel, "look_again", lambda **_: None)
    publisher._channel.stalled = True  # type: ignore[attr-defined]
    late = bus.new_subscriber("camera1")
    until(lambda: publisher._channel.subscribers() == 2)
    channel = channel_of(late)
    assert channel._memory is not None

    def answered() -> bool:
        """Tell whether the answer to the question for shared memory says that there is none."""
        publisher._channel.subscribers()
        with contextlib.suppress(mb.NoMessage):
            late.recv(0)
        assert channel._memory is not None
        return channel._memory.connected and channel._fetches

    until(answered)
    publish(publisher, count)
    assert numbers(late, 1) == numbers(subscriber, 1) == [count]
    assert not channel._memory.begun
    assert len(hand_out_of(publisher)._served) == 1


def test_growth_beside_a_slow_subscriber_loses_nothing(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    while not topic_of(publisher).noticed:
        publisher.publish(({"n": -1}, bytes(LESS)))
        assert numbers(subscriber, 1) == [-1]
    for number in range(350):  # more than the connection holds
        publisher.publish(({"n": number}, bytes(LESS)))
    for number in range(350, 360):
        publisher.publish(({"n": number}, bytes(1_000_000)))
    assert numbers(subscriber, 360) == list(range(360))
    assert subscriber.stats.lost == 0


def test_frames_are_read_to_the_last_though_their_publisher_was_killed(
    sides: Sides, opened: Open, start: Start
) -> None:
    code = f"""
publisher = mb.MsgbusContext(config).new_publisher("camera1")
publisher.wait_for_subscribers(1, 10_000)
topic = publisher._channel._topic
while not topic.noticed:
    publisher.publish(({{"n": -1}}, bytes({FRAME})))
    threading.Event().wait(0.05)
for number in range(10):
    publisher.publish(({{"n": number}}, bytes({FRAME})))
print("sent", flush=True)
threading.Event().wait(60)
"""
    subscriber = opened(sides.client).new_subscriber("camera1")
    program = start(code, sides.server)
    while numbers(subscriber, 1) != [0]:
        pass
    program.line("sent")
    program.process.kill()
    program.process.wait(10)
    assert numbers(subscriber, 9) == list(range(1, 10))


def test_subscriber_whose_connection_ended_fetches_the_memory_again_at_once(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    count = shared(publisher, subscriber)
    memory = channel_of(subscriber)._memory
    assert memory is not None
    memory._try_at = float("-inf")
    hand_out = hand_out_of(publisher)
    for fileno in tuple(hand_out._served):
        hand_out._forget(fileno)
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)
    until(lambda: publisher._channel.subscribers() and hand_out._served)
    assert noticed(publisher, subscriber, count) == 1
    assert subscriber.stats.lost == 0


def test_asyncio_subscriber_is_woken_by_a_notice(bus: mb.MsgbusContext, sides: Sides) -> None:
    publisher = bus.new_publisher("camera1")

    async def main() -> None:
        async with aio.MsgbusContext(sides.client) as client:
            subscriber = client.new_subscriber("camera1")
            publisher.wait_for_subscribers(1, 5000)
            for number in range(30):
                waiting = asyncio.ensure_future(subscriber.recv(5))
                await give_way()
                publish(publisher, number)
                assert (await waiting).meta_data == {"n": number}
            assert topic_of(publisher).noticed > 0
            assert subscriber.stats.lost == 0

    asyncio.run(main())


def test_thread_that_waits_is_woken_by_a_notice(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    count = shared(publisher, subscriber)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(numbers(subscriber, 3)))
    thread.start()
    until(lambda: len(subscriber._waiters) == 1)
    for number in range(3):
        publish(publisher, count + number)
    thread.join(10)
    assert found == [count, count + 1, count + 2]


def test_notices_that_wait_are_no_silence(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    channel = channel_of(subscriber)
    assert channel.progress() is not None
    publish(publisher, 1)
    assert channel.progress() is None


# Hostile publishers


def told(subscriber: mb.Subscriber[Any], notice: bytes, descriptors: list[int] | None = None) -> None:
    """Put a notice into the subscriber's connection, as its publisher could."""
    fetcher = channel_of(subscriber)._memory
    assert fetcher is not None
    assert fetcher._fetcher is not None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.settimeout(5)
    assert fetcher._fetcher._connection is not None
    fetcher._arrivals.unregister(fetcher._fetcher._connection)
    fetcher._fetcher._connection.close()
    fetcher._fetcher._connection = ours
    fetcher._arrivals.register(ours, select.EPOLLIN)
    fetcher._fetcher._looks = select.poll()
    fetcher._fetcher._looks.register(ours, select.POLLIN)
    if descriptors is None:
        theirs.send(notice)
    else:
        socket.send_fds(theirs, [notice], descriptors)
    theirs.close()


@pytest.mark.parametrize(
    "notice",
    [
        b"x",
        b"\xff",
        b"camera1\0",
        STREAM,
        STREAM + b"x",
        STREAM + pack_stamp(1, 1, 1, 1, 32, 0, 1),
        STREAM + pack_stamp(1, 1, 1, 0, 0, 9, 1),
        b"\xff?12345678scamera1\0{}",
        stream_prefix(SHARED, b"other\0", 1) + pack_stamp(1, 1, 1, 0, 0, 0, 1),
        b"x" * (LARGEST_NOTICE + 1),
        b"x" * 100_000,
        b"\1",
    ],
)
def test_notice_that_is_none_is_refused_and_counted(notice: bytes, bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    told(subscriber, notice)
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)
    assert subscriber.stats.malformed == 1
    until(lambda: publisher._channel.subscribers() == 1)
    publish(publisher, 7)
    assert subscriber.recv(5000) == ({"n": 7}, frame(7))


def test_memory_that_comes_with_a_notice_is_not_taken(bus: mb.MsgbusContext, tmp_path: Path) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    with (tmp_path / "file").open("wb") as file:
        told(subscriber, b"\xff not a memory", [file.fileno()])
        with pytest.raises(mb.NoMessage):
            subscriber.recv(0)
    assert subscriber.stats.malformed == 1


def test_reader_that_is_gone_or_has_said_nothing_is_told_apart() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    reader = Reader(b"12345678", b"", ours, 0)
    assert reader.hear() is None  # a signal handler that publishes has heard it meanwhile
    assert reader.notify(b"never read")
    theirs.close()
    assert reader.hear() == b""
    assert not reader.notify(b"nobody is there")
    ours.close()


def test_memory_that_comes_again_is_refused(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    hand_out = hand_out_of(publisher)
    assert hand_out._memory is not None
    hand_out.offer(hand_out._memory)
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)
    assert subscriber.stats.malformed == 1


def test_flood_of_what_a_reader_says_is_heard_little_by_little(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    memory = channel_of(subscriber)._memory
    assert memory is not None
    assert memory._fetcher is not None
    connection = memory._fetcher._connection
    assert connection is not None
    with contextlib.suppress(BlockingIOError):
        while True:
            connection.send(bytes(16))
    assert len(list(hand_out_of(publisher).hear())) == 32


class Interrupt(Exception):
    """Be what a signal handler raises."""


def interrupted(*_: Any) -> bool:
    raise Interrupt


def test_notice_that_a_signal_handler_interrupts_is_counted_and_the_next_one_comes(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    for number in (1, 2):
        publish(publisher, number)
    with monkeypatch.context() as patch:
        patch.setattr(channel_of(subscriber)._reader, "take_notice", interrupted)
        with pytest.raises(Interrupt):
            numbers(subscriber, 1)
    assert numbers(subscriber, 1) == [2]
    assert subscriber.stats.dropped == 1


def test_held_message_that_a_signal_handler_interrupts_is_counted_and_the_next_one_comes(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    channel = channel_of(subscriber)
    publisher.publish(({"n": 1}, b"blob"))
    arrived(subscriber)
    with channel.lock:
        hold(subscriber, monkeypatch)
        channel._reader.held = None  # it was taken out
    with monkeypatch.context() as patch:
        patch.setattr(channel._reader, "take_held", interrupted)
        with pytest.raises(Interrupt):
            numbers(subscriber, 1)
    small(publisher, 2)
    assert numbers(subscriber, 1) == [2]
    assert subscriber.stats.dropped == 1


def test_subscriber_begins_once_and_not_without_a_connection(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    shared(publisher, subscriber)
    memory = channel_of(subscriber)._memory
    assert memory is not None
    assert memory._fetcher is not None
    memory.begin()
    memory._fetcher._hang_up()
    memory.begun = False
    memory.begin()  # the answer comes after the end
    assert memory.waits() is memory.connected is False
    memory.close()
    memory.begin()
    assert not memory.begun
