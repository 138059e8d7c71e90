"""Native streams: who speaks them, and what the numbers say. Old peers on the same socket notice nothing."""

import contextlib
import errno
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._waiting import poll
from eis.msgbus._wire.native import MARK, METADATA, PLAIN, WHOLE, Ask, Hello, pack_stamp, read_hello, stream_prefix
from eis.msgbus.transports.zmq import granting, topics
from eis.msgbus.transports.zmq.peer import Peer
from eis.msgbus.transports.zmq.publisher import PublisherSocket
from eis.msgbus.transports.zmq.streams import machine
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import GOOD, Sides, running, socket_of, until

EPOCH = 0x1234
NATIVE = ("whole", "shared")
PREFIX = stream_prefix(WHOLE, b"camera1\0", EPOCH)


def whole(sequence: int, metadata: bytes = b"{}", blobs: int = 0, prefix: bytes = PREFIX) -> bytes:
    return prefix + pack_stamp(sequence, time.time_ns(), time.monotonic_ns(), blobs, 0, 0, 1) + metadata


def changed_over(publisher: mb.Publisher, count: int) -> None:
    """Wait until so many subscribe, and none to the plain form any more."""
    until(lambda: publisher._channel.subscribers() == count)
    until(lambda: publisher._channel.subscribers() and PLAIN not in publisher._channel._topic.forms)  # type: ignore[attr-defined]


def receive(subscriber: mb.Subscriber[Any], count: int) -> list[int]:
    return [subscriber.recv(5000).meta_data["n"] for _ in range(count)]


# Who speaks it


def test_two_new_peers_speak_it_by_themselves(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    before = time.time()
    for number in range(3):
        publisher.publish(({"n": number}, b"one", b"two"))
    publisher.publish(b"blob")
    messages = [subscriber.recv(5000) for _ in range(4)]
    assert [(each.meta_data, each.blob) for each in messages[:3]] == [({"n": n}, [b"one", b"two"]) for n in range(3)]
    assert (messages[3].meta_data, messages[3].blob) == (None, b"blob")
    assert [each.sequence for each in messages] == [1, 2, 3, 4]
    for each in messages:
        assert each.sent_at is not None
        assert before <= each.sent_at <= time.time()
        assert each.latency is not None
        assert 0 < each.latency < 5
    stats = subscriber.stats
    assert (stats.form in NATIVE, stats.received, stats.lost, stats.restarts) == (True, 4, 0, 0)
    assert stats.latency_p50 is not None
    assert stats.latency_p99 is not None
    assert 0 < stats.latency_p50 <= stats.latency_p99 < 5


def test_each_message_tells_how_many_subscribe(
    server: mb.MsgbusContext, client: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = server.new_publisher("camera1")
    subscriber, other = (client.new_subscriber("camera1") for _ in range(2))
    changed_over(publisher, 2)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).subscribers == 2
    other.close()
    until(lambda: publisher._channel.subscribers() == 1)
    publisher.publish(({"n": 2}, b"blob"))
    assert subscriber.recv(5000).subscribers == 1
    monkeypatch.setattr(topics, "_MOST_TOLD", 0)
    publisher._channel._topic._renew()  # type: ignore[attr-defined]
    publisher.publish({"n": 3})
    assert subscriber.recv(5000).subscribers == 0


@pytest.mark.parametrize("old", ["server", "client"])
def test_peer_that_is_told_not_to_gets_the_originals_frames(sides: Sides, opened: Open, old: str) -> None:
    server = opened({**sides.server, "native": old != "server"})
    client = opened({**sides.client, "native": old != "client"})
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish(({"n": 1}, b"blob"))
    envelope = subscriber.recv(5000)
    assert envelope == ({"n": 1}, b"blob")
    assert (envelope.sequence, envelope.sent_at, envelope.latency, envelope.subscribers) == (None, None, None, None)
    stats = subscriber.stats
    assert (stats.form, stats.lost, stats.latency_p50, stats.latency_p99) == ("plain", 0, None, None)


def test_native_must_be_a_truth_value() -> None:
    with pytest.raises(mb.InvalidConfig, match="native: expected bool, got str"):
        mb.MsgbusContext({"type": "zmq_ipc", "socket_dir": "/run", "native": "no"})


def test_old_subscriber_gets_the_originals_frames_and_nothing_else(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    old, everything = (raw(zmq.SUB, connect=plain_sides.publisher) for _ in range(2))
    old.subscribe("camera1")
    everything.subscribe("")
    publisher.wait_for_subscribers(3, 5000)
    frames = [[b"camera1\0", b"\0", b"\1", b'{"n":%d}' % number] for number in range(50)]
    for number in range(50):
        publisher.publish({"n": number})
    for each in (old, everything):
        assert [each.recv_multipart() for _ in frames] == frames
        assert not each.poll(50)
    assert receive(subscriber, 50) == list(range(50))
    assert subscriber.stats.form in NATIVE
    everything.unsubscribe("")
    until(lambda: publisher._channel.subscribers() == 2)
    publisher.publish({"n": 50})
    assert not everything.poll(50)


def test_who_subscribes_to_everything_gets_a_topic_without_a_name_too(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher = opened(plain_sides.server).new_publisher("")
    old = raw(zmq.SUB, connect=plain_sides.publisher)
    old.subscribe("")
    subscriber = opened(plain_sides.client).new_subscriber("")
    publisher.wait_for_subscribers(2, 5000)
    publisher.publish({"n": 1})
    assert old.recv_multipart()[0] == b"\0"
    assert subscriber.recv(5000) == {"n": 1}


def test_new_subscriber_understands_an_old_publisher(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = raw(zmq.XPUB, bind=plain_sides.publisher)
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    while publisher.recv() != b"\1camera1":
        pass
    publisher.send_multipart(GOOD)
    assert subscriber.recv(5000) == {"n": 1}
    assert subscriber.stats.form == "plain"


def test_a_forwarder_between_them_gets_the_originals_frames(
    make_sides: Callable[[str], Sides], opened: Open, raw: Raw
) -> None:
    """It may have old subscribers behind it, and all subscriptions come over its one connection."""
    here, there = make_sides("tcp"), make_sides("ipc")
    publisher = opened(here.server).new_publisher("camera1")
    front, back = raw(zmq.XSUB, connect=here.publisher), raw(zmq.XPUB, bind=there.publisher)
    stop = threading.Event()

    def forward() -> None:
        while not stop.is_set():
            for source, sink in ((front, back), (back, front)):
                if source.poll(5):
                    sink.send_multipart(source.recv_multipart())

    with running(forward):
        try:
            old = raw(zmq.SUB, connect=there.publisher)
            old.subscribe("camera1")
            subscriber = opened(there.client).new_subscriber("camera1")
            publisher.wait_for_subscribers(1, 5000)

            def received() -> bool:  # the forwarder may have no more than the other's subscription yet
                publisher.publish({"n": 1})
                with contextlib.suppress(mb.ReceiveTimeout):
                    return subscriber.recv(50) == {"n": 1}
                return False

            until(received)
            assert old.recv_multipart()[0] == b"camera1\0"
            assert subscriber.stats.form == "plain"
        finally:
            stop.set()


def test_thirty_subscribers_that_join_a_running_stream_get_every_message_once(plain_sides: Sides, opened: Open) -> None:
    bus, client = opened(plain_sides.server), opened(plain_sides.client)
    old = opened({**plain_sides.client, "native": False})
    publisher, stop, sent = bus.new_publisher("camera1"), threading.Event(), 0

    def publish() -> None:
        nonlocal sent
        pause = threading.Event()
        while not stop.is_set():
            publisher.publish({"n": sent})
            sent += 1
            pause.wait(0.0005)

    choice = random.Random(7)
    with running(publish):
        try:
            subscribers = []
            for _ in range(30):
                prefix = choice.choice(("camera1", "camera", ""))
                subscribers.append((client if choice.random() < 0.5 else old).new_subscriber(prefix))
            first = [subscriber.recv(10_000).meta_data["n"] for subscriber in subscribers]
        finally:
            stop.set()
    publisher.publish({"n": sent})
    for subscriber, begun in zip(subscribers, first, strict=True):
        assert receive(subscriber, sent - begun) == list(range(begun + 1, sent + 1))
        stats = subscriber.stats
        assert (stats.received, stats.lost, stats.malformed) == (sent + 1 - begun, 0, 0)
    for subscriber in subscribers:
        subscriber.close()
    until(lambda: publisher._channel.subscribers() == 0)
    assert publisher._channel._topic.forms == ()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kinds", [(True, False, True), (False, True, False)])
def test_subscriber_goes_on_whatever_kind_its_publisher_comes_back_as(
    sides: Sides, opened: Open, kinds: tuple[bool, ...]
) -> None:
    subscriber = opened(sides.client).new_subscriber("camera1")
    for native in kinds:
        with opened({**sides.server, "native": native}).new_publisher("camera1") as publisher:
            publisher.wait_for_subscribers(1, 5000)
            if native:
                changed_over(publisher, 1)
            for number in range(3):
                publisher.publish(({"n": number}, b"x"))
            assert receive(subscriber, 3) == [0, 1, 2]
            assert (subscriber.stats.form in NATIVE) is native
    assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)


def test_topics_are_told_apart_by_prefix_subscribers(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    topics = ("camera1", "camera10", "other")
    publishers = [server.new_publisher(topic) for topic in topics]
    subscriber, everything = client.new_subscriber("camera1"), client.new_subscriber("")
    changed_over(publishers[0], 2)
    for number in range(6):
        publishers[number % 3].publish({"n": number})
    got = [subscriber.recv(5000) for _ in range(4)]
    assert [(each.name, each.sequence) for each in got] == [(t, n) for n in (1, 2) for t in topics[:2]]
    assert [everything.recv(5000).name for _ in range(6)] == [*topics, *topics]
    assert (subscriber.stats.lost, everything.stats.lost) == (0, 0)


def test_publishers_of_one_topic_share_its_numbers(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    one, two = (server.new_publisher("camera1") for _ in range(2))
    subscriber = client.new_subscriber("camera1")
    changed_over(one, 1)
    for _ in range(3):
        one.publish({})
        two.publish({})
    assert [subscriber.recv(5000).sequence for _ in range(6)] == [1, 2, 3, 4, 5, 6]


def test_asyncio_subscriber_gets_numbers_too(sides: Sides, opened: Open) -> None:
    import asyncio

    publisher = opened(sides.server).new_publisher("camera1")

    async def main() -> None:
        async with aio.MsgbusContext(sides.client) as bus:
            subscriber = bus.new_subscriber("camera1", metadata_only=True)
            changed_over(publisher, 1)
            publisher.publish(({"n": 1}, b"x"))
            envelope = await subscriber.recv(5)
            assert (envelope.sequence, envelope.blob, subscriber.stats.form) == (1, None, "metadata")

    asyncio.run(main())


# Metadata without blobs


def test_blob_never_leaves_the_publisher_for_who_reads_metadata_only(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    spy = raw(zmq.SUB, connect=plain_sides.publisher)  # reads along what a new peer gets
    ask = Ask(b"12345678", METADATA, b"camera1")
    spy.subscribe(MARK + METADATA)
    spy.subscribe(ask.subscription)
    subscriber = opened(plain_sides.client).new_subscriber("camera1", metadata_only=True)
    changed_over(publisher, 2)
    publisher.publish(({"n": 1}, b"secret" * 100))
    envelope = subscriber.recv(5000)
    assert (envelope.meta_data, envelope.blob, envelope.sequence) == ({"n": 1}, None, 1)
    hello, message = spy.recv_multipart(), spy.recv_multipart()
    assert hello[0].startswith(ask.subscription)
    assert len(message) == 1
    assert b"secret" not in message[0]


@pytest.mark.parametrize("blobs", [(), (b"one",), (b"one", b"two")])
@pytest.mark.parametrize("native", [True, False])
def test_metadata_alone_arrives_from_new_and_old_publishers(
    plain_sides: Sides, opened: Open, native: bool, blobs: tuple[bytes, ...]
) -> None:
    publisher = opened({**plain_sides.server, "native": native}).new_publisher("camera1")
    subscriber = opened(plain_sides.client).new_subscriber("camera1", metadata_only=True)
    whole = opened(plain_sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(2, 5000)
    for number in range(3):
        publisher.publish(({"n": number}, *blobs))
        publisher.publish(b"blob")
    for number in range(3):
        assert subscriber.recv(5000) == ({"n": number}, None)
        assert subscriber.recv(5000) == (None, None)
        assert whole.recv(5000).meta_data == {"n": number}
        assert whole.recv(5000) == b"blob"
    assert subscriber.stats.malformed == 0


def test_metadata_only_works_for_typed_messages_and_in_memory() -> None:
    class Frame(msgspec.Struct):
        n: int

    with mb.MsgbusContext({"type": "memory"}) as bus:
        subscriber = bus.new_subscriber("native-memory", Frame, metadata_only=True)
        bus.new_publisher("native-memory").publish(({"n": 1}, b"x"))
        envelope = subscriber.recv(5000)
        assert (envelope.meta_data, envelope.blob) == (Frame(1), None)


# What the numbers say


def test_lost_and_received_are_what_was_sent_when_a_queue_is_full(plain_sides: Sides, opened: Open) -> None:
    publisher = opened({**plain_sides.server, "queue_bytes": 200_000}).new_publisher("camera1")
    config = {**plain_sides.client, "queue_bytes": 200_000, "zmq_recv_hwm": 4}
    subscriber = opened(config).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(500):
        publisher.publish(({"n": number}, bytes(100_000)))
    received = 0
    while subscriber.stats.received + subscriber.stats.lost < publisher.stats.sent:
        publisher.publish({"n": -1})  # what was lost shows with the next that comes
        while True:
            try:
                subscriber.recv(200)
            except mb.ReceiveTimeout:
                break
            received += 1
    stats = subscriber.stats
    assert stats.lost > 0
    assert (stats.received, stats.received + stats.lost) == (received, publisher.stats.sent)


def test_first_messages_count_as_lost_when_they_did_not_come(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, ask = new_publisher(plain_sides, opened, raw)
    publisher.send(Hello(EPOCH, "w", "", {"camera1": 4}).answer(ask))
    publisher.send(whole(8))
    publisher.send(whole(1, prefix=stream_prefix(WHOLE, b"camera10\0", EPOCH)))
    publisher.send(whole(3, prefix=stream_prefix(WHOLE, b"camera11\0", EPOCH)))
    for _ in range(3):
        subscriber.recv(5000)
    assert subscriber.stats.lost == 3 + 0 + 2


def test_counting_begins_with_the_first_message_where_no_answer_came(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    for sequence in (8, 10, 10, 9, 11):
        publisher.send(whole(sequence))
    assert [subscriber.recv(5000).sequence for _ in range(5)] == [8, 10, 10, 9, 11]
    assert (subscriber.stats.lost, subscriber.stats.received) == (1, 5)


def test_messages_of_the_time_without_a_connection_count_as_lost(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, ask = new_publisher(plain_sides, opened, raw)
    publisher.send(Hello(EPOCH, "w", "", {}).answer(ask))
    publisher.send(whole(1))
    subscriber.recv(5000)
    publisher.send(Hello(EPOCH, "w", "", {"camera1": 6}).answer(ask))  # after a reconnect
    publisher.send(whole(7))
    subscriber.recv(5000)
    assert (subscriber.stats.lost, subscriber.stats.restarts) == (5, 0)


def test_restart_is_counted_once_for_all_topics_of_a_publisher(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, ask = new_publisher(plain_sides, opened, raw)
    for epoch in (1, 2, 3):
        publisher.send(Hello(epoch, "w", "", {"camera1": 0, "camera10": 0}).answer(ask))
        for name in (b"camera1\0", b"camera10\0"):
            publisher.send(whole(1, prefix=stream_prefix(WHOLE, name, epoch)))
            subscriber.recv(5000)
    assert (subscriber.stats.restarts, subscriber.stats.lost) == (2, 0)


def test_numbers_tell_of_a_killed_publisher(plain_sides: Sides, opened: Open, start: Start) -> None:
    code = """
bus = mb.MsgbusContext(config)
publisher = bus.new_publisher("camera1")
publisher.wait_for_subscribers(1, 10_000)
for number in range(10):
    publisher.publish({"n": number})
print("published")
signal.pause()
"""
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    for _ in range(2):
        program = start(code, plain_sides.server)
        assert receive(subscriber, 10) == list(range(10))
        program.line("published")
        program.process.kill()
        program.close()
    assert (subscriber.stats.restarts, subscriber.stats.lost, subscriber.stats.received) == (1, 0, 20)


def test_latency_is_taken_by_the_time_of_day_between_machines(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, ask = new_publisher(plain_sides, opened, raw)
    for of, expected in (("another", 100.0), (machine(), 50.0)):
        publisher.send(Hello(EPOCH, "w", of, {}).answer(ask))
        now, elapsed = time.time_ns(), time.monotonic_ns()
        publisher.send(PREFIX + pack_stamp(1, now - 100 * 10**9, elapsed - 50 * 10**9, 0, 0, 0, 1) + b"{}")
        latency = subscriber.recv(5000).latency
        assert latency is not None
        assert expected <= latency < expected + 5


# Peers that break the rules


def new_publisher(sides: Sides, opened: Open, raw: Raw) -> tuple["zmq.Socket[bytes]", mb.Subscriber[Any], Ask]:
    """Return a bare socket in the place of a publisher, a subscriber, and what that asks for."""
    publisher = raw(zmq.XPUB, bind=sides.publisher)
    subscriber = opened({**sides.client, "queue_bytes": 10**9}).new_subscriber("camera1")
    seen = {publisher.recv() for _ in range(3)}
    ask: Ask = subscriber._channel._reader.ask  # type: ignore[attr-defined]
    assert seen == {b"\1camera1", b"\1\xffwcamera1", b"\1" + ask.subscription}
    return publisher, subscriber, ask


BROKEN = [
    [MARK + b"wcamera1"],
    [PREFIX],
    [whole(1)[:-3]],
    [whole(1)[: len(PREFIX) + 26]],
    [whole(1, b"{")],
    [whole(1, b"[]")],
    [whole(1), b"extra"],
    [whole(1, blobs=1), b"one", b"two", b"three"],
    [whole(1, blobs=1)],
    [whole(1, blobs=1), b"one", b"two"],
    [whole(1).replace(b"camera1\0\1", b"camera1\0\2")],
    [whole(1).replace(b"camera1", b"camera1\xc3")],
]


@pytest.mark.parametrize("frames", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("after", ["first", "native", "strict"])
def test_broken_native_message_is_refused_and_the_next_one_arrives(
    plain_sides: Sides, opened: Open, raw: Raw, frames: list[bytes], after: str
) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    if after != "first":
        for message in ([b"camera1\0"], [whole(1)])[after == "native" :]:
            publisher.send_multipart(message)
        subscriber.recv(5000)
    publisher.send_multipart(frames)
    publisher.send_multipart([whole(2, b'{"n":2}', blobs=1), b"blob"])
    publisher.send_multipart(GOOD)
    publisher.send(whole(3, b'{"n":3}'))
    envelope = subscriber.recv(5000)
    if frames[-1] == b"extra" and after == "native":  # the frame that is too many is the message that is refused
        envelope = subscriber.recv(5000)
    assert (envelope.meta_data, envelope.blob) == ({"n": 2}, b"blob")
    assert receive(subscriber, 2) == [1, 3]
    assert subscriber.stats.malformed == 1 + (after == "strict")


def test_answer_to_a_question_before_is_left_out(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, ask = new_publisher(plain_sides, opened, raw)
    channel: Any = subscriber._channel
    with channel.lock:
        publisher.send(Hello(EPOCH, "w", "", {"camera1": 6}).answer(ask))
        until(channel._has_news)  # libzmq has taken it out of the connection now, and does not look at it again
        channel.changed()  # to look makes the descriptor quiet
        channel._ask_for(WHOLE, b"87654321")
    publisher.send(whole(1, b'{"n":1}'))
    assert receive(subscriber, 1) == [1]
    assert (subscriber.stats.lost, subscriber.stats.malformed) == (0, 0)


def test_answer_that_is_broken_or_anothers_is_refused(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher, subscriber, ask = new_publisher(plain_sides, opened, raw)
    for answer in (b"", b"{}", b"[", b'{"epoch": -1}', b"\xff", b'{"epoch":1,"form":"w","machine":"","sequences":[]}'):
        publisher.send(ask.subscription + b"\0" + answer)
    publisher.send(GOOD[0], zmq.SNDMORE)
    publisher.send_multipart(GOOD[1:])
    assert subscriber.recv(5000) == {"n": 1}
    assert subscriber.stats.malformed == 6


def test_made_up_topics_do_not_fill_the_memory(
    plain_sides: Sides, opened: Open, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.transports.zmq.streams._MOST", 10)
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    for number in range(30):
        publisher.send(whole(1, prefix=stream_prefix(WHOLE, b"camera1%d\0" % number, EPOCH)))
    assert [subscriber.recv(5000).name for _ in range(30)] == [f"camera1{number}" for number in range(30)]
    streams = subscriber._channel._reader.streams  # type: ignore[attr-defined]
    assert (len(streams._topics), len(streams._known)) == (10, 10)


@pytest.mark.parametrize("wrong", [b"w", b"", b"12345678", b"12345678x", b"12345678xcamera1", b"12345678wcam\0"])
def test_question_that_nobody_asks_changes_nothing(plain_sides: Sides, opened: Open, raw: Raw, wrong: bytes) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    old = raw(zmq.SUB, connect=plain_sides.publisher)
    old.subscribe("camera1")
    old.subscribe(MARK + b"?" + wrong)
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    assert old.recv_multipart() == GOOD
    old.unsubscribe(MARK + b"?" + wrong)
    old.unsubscribe("camera1")
    until(lambda: publisher._channel.subscribers() == 0)
    assert socket_of(publisher)._subscriptions._held == {}  # type: ignore[attr-defined]


def test_question_of_a_broker_is_not_answered_for_it_asks_for_many(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    broker = raw(zmq.XSUB, connect=plain_sides.publisher)
    for wanted in (b"camera1", Ask(b"1" * 8, WHOLE, b"camera1").subscription):
        broker.send(b"\1" + wanted)
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    assert broker.recv_multipart() == GOOD


def test_form_is_changed_by_a_second_question_without_a_gap(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    peer = raw(zmq.SUB, connect=plain_sides.publisher)
    asks = [Ask(b"1" * 8, WHOLE, b"camera1"), Ask(b"2" * 8, METADATA, b"camera1")]
    for form in (WHOLE, METADATA):
        peer.subscribe(MARK + form)
    for ask in asks:
        peer.subscribe(ask.subscription)
        until(lambda: peer.poll(10) or publisher._channel.subscribers() is None)
        assert peer.recv().startswith(ask.subscription)
        publisher.publish({"n": 1})
        assert peer.recv()[1:2] == ask.form
    assert publisher._channel.subscribers() == 1
    assert not peer.poll(50)


def test_who_sends_what_no_subscriber_sends_is_cut_off_and_the_others_go_on(
    plain_sides: Sides, opened: Open, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    good = opened({**plain_sides.client, "shared_memory": False}).new_subscriber("camera1")
    changed_over(publisher, 1)
    stranger = raw(zmq.XSUB, connect=plain_sides.publisher)
    ends = stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    for _ in range(5):
        stranger.send(b"\2nonsense")
    until(lambda: publisher._channel.subscribers() and publisher.stats.refused)
    assert ends.poll(5000)
    stranger.disable_monitor()
    ends.close()
    for number in range(100):
        publisher.publish({"n": number})
    assert receive(good, 100) == list(range(100))
    assert (good.stats.reconnects, good.stats.lost) == (0, 0)
    assert "cuts a client off: it sent what no subscriber sends" in caplog.text


def test_subscription_that_came_between_is_made_anew(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    """libzmq would grant it to who subscribed next: who sent it is cut off too, and connects again."""
    publisher = opened(plain_sides.server).new_publisher("camera1")
    stranger, good, next_one = (raw(zmq.XSUB, connect=plain_sides.publisher) for _ in range(3))
    socket = socket_of(publisher)
    for peer in (stranger, good, next_one):
        peer.send(b"\1other")
    until(lambda: publisher._channel.subscribers() is None or len(held(socket, b"other")) == 3)
    for peer, frame in ((stranger, b"\2"), (good, b"\1camera1"), (next_one, b"\1camera2")):
        peer.send(frame)
        with socket.lock:
            assert poll((socket.link.fd,), 5)
            socket.link.socket.get(zmq.EVENTS)  # libzmq takes the frame, and keeps it
    until(lambda: good.poll(1) or publisher._channel.subscribers() == 1)
    publisher.publish({"n": 1})
    assert good.recv_multipart() == GOOD
    assert not stranger.poll(50)
    assert not next_one.poll(50)


def held(socket: PublisherSocket, what: bytes) -> Any:
    return socket._subscriptions._held.get(what, ())  # type: ignore[attr-defined]


def test_client_with_too_many_subscriptions_is_cut_off(
    plain_sides: Sides, opened: Open, raw: Raw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(granting, "_MOST_BYTES", 10_000)
    publisher = opened(plain_sides.server).new_publisher("camera1")
    good = opened({**plain_sides.client, "shared_memory": False}).new_subscriber("camera1")
    flood = raw(zmq.XSUB, connect=plain_sides.publisher)
    changed_over(publisher, 1)
    for number in range(1000):
        flood.send(b"\1camera2%d" % number)
    until(lambda: publisher._channel.subscribers() and "it subscribed to too much" in caplog.text)
    flood.close()
    until(lambda: publisher._channel.subscribers() == 1 and len(socket_of(publisher)._subscriptions._bytes) == 1)  # type: ignore[attr-defined]
    publisher.publish({"n": 1})
    assert receive(good, 1) == [1]
    assert good.stats.reconnects == 0


def test_end_of_a_connection_is_noticed_though_it_was_told_before_it_was_closed(
    plain_sides: Sides, opened: Open, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    stays, leaves = (raw(zmq.SUB, connect=plain_sides.publisher) for _ in range(2))
    for each in (stays, leaves):
        each.subscribe("camera1")
    publisher.wait_for_subscribers(2, 5000)
    with monkeypatch.context() as patched:
        patched.setattr(Peer, "gone", property(lambda _: False))
        leaves.close()
        until(lambda: publisher._channel.subscribers() and socket_of(publisher)._subscriptions._left)  # type: ignore[attr-defined]
        assert publisher._channel.subscribers() == 2
    until(lambda: publisher._channel.subscribers() == 1)
    publisher.publish({"n": 1})
    assert stays.recv_multipart() == GOOD


def test_one_of_them_is_taken_for_gone_where_the_system_tells_nothing(
    plain_sides: Sides, opened: Open, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.transports.zmq.peer._inode", lambda _: 0)
    publisher = opened(plain_sides.server).new_publisher("camera1")
    there = [raw(zmq.SUB, connect=plain_sides.publisher) for _ in range(2)]
    for each in there:
        each.subscribe("camera1")
    publisher.wait_for_subscribers(2, 5000)
    there[0].close()
    until(lambda: publisher._channel.subscribers() == 1)


def test_machine_is_unknown_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "eis.msgbus.transports.zmq.streams.Path", lambda _: __import__("pathlib").Path("/nowhere/at/all")
    )
    assert machine.__wrapped__() == ""


# What is rare


def test_publisher_counts_what_libzmq_grants_where_it_does(sides: Sides, opened: Open) -> None:
    bus = opened({**sides.server, "native": False})
    publisher = bus.new_publisher("camera1")
    subscriptions_of: Any = socket_of(publisher)._subscriptions
    for frame, count in ((b"\1camera", 1), (b"\1camera1", 2), (b"\1camera1", 3), (b"\0camera1", 2), (b"\2", 2)):
        subscriptions_of._count(frame)
        assert publisher._channel.subscribers() == count
    assert bus.new_publisher("camera10")._channel.subscribers() == 2
    assert bus.new_publisher("other")._channel.subscribers() == 0


def test_new_publisher_of_a_socket_knows_who_subscribed_before(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    bus, old = opened(plain_sides.server), raw(zmq.SUB, connect=plain_sides.publisher)
    first = bus.new_publisher("other")
    old.subscribe("camera")
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    until(lambda: first._channel.subscribers() is None or len(held(socket_of(first), b"camera1")) == 1)
    until(lambda: first._channel.subscribers() is None or len(held(socket_of(first), b"camera")) == 1)
    publisher = bus.new_publisher("camera1")
    publisher.publish({"n": 1})
    assert old.recv_multipart() == GOOD
    assert subscriber.recv(5000) == {"n": 1}


def test_who_has_everything_and_a_topic_of_one_letter_keeps_the_one_that_it_keeps(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    bus = opened(plain_sides.server)
    a, b = bus.new_publisher("a"), bus.new_publisher("b")
    old = raw(zmq.SUB, connect=plain_sides.publisher)
    old.subscribe("")
    old.subscribe("a")
    a.wait_for_subscribers(2, 5000)
    old.unsubscribe("a")
    until(lambda: a._channel.subscribers() == 1)
    a.publish({"n": 1})
    assert old.recv_multipart()[0] == b"a\0"
    old.subscribe("a")
    old.unsubscribe("")
    until(lambda: (a._channel.subscribers(), b._channel.subscribers()) == (1, 0))
    b.publish({"n": 2})
    a.publish({"n": 3})
    assert old.recv_multipart()[0] == b"a\0"
    assert not old.poll(50)


def asked(socket: PublisherSocket) -> bool:
    """Tell whether there are subscriptions to read, whoever has looked before."""
    with socket.lock:
        return bool(int(socket.link.socket.get(zmq.EVENTS)) & zmq.POLLIN)


def test_asks_without_end_do_not_hold_the_publisher(
    plain_sides: Sides, opened: Open, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(granting, "_LONGEST", 0.0)  # it looks once, at none of them
    publisher, peer = opened(plain_sides.server).new_publisher("camera1"), raw(zmq.SUB, connect=plain_sides.publisher)
    peer.subscribe("camera1")
    until(lambda: asked(socket_of(publisher)))
    assert publisher._channel.subscribers() == 0
    monkeypatch.setattr(granting, "_LONGEST", 1.0)
    publisher.wait_for_subscribers(1, 5000)


@pytest.mark.parametrize("size", [512, 513])
def test_names_longer_than_a_subscription_are_refused(plain_sides: Sides, opened: Open, raw: Raw, size: int) -> None:
    publisher, subscriber, ask = new_publisher(plain_sides, opened, raw)
    name = b"camera1" + b"x" * (size - 7)
    publisher.send(Hello(EPOCH, "w", "", {name.decode(): 4}).answer(ask))
    publisher.send(whole(5, prefix=stream_prefix(WHOLE, name + b"\0", EPOCH)))
    publisher.send(whole(1, b'{"n":1}'))
    if size <= 512:
        assert subscriber.recv(5000).name == name.decode()
    assert subscriber.recv(5000) == {"n": 1}
    assert (subscriber.stats.malformed, subscriber.stats.lost) == (size > 512, 0)


def test_subscription_is_refused_by_rights_whatever_form_is_asked_for(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    granted: Any = socket_of(publisher)._subscriptions
    granted._may_subscribe = lambda *_: False
    peer = raw(zmq.SUB, connect=plain_sides.publisher)
    peer.subscribe(Ask(b"1" * 8, WHOLE, b"camera1").subscription)  # before the plain one, and alone
    until(lambda: publisher._channel.subscribers() is None or len(held(socket_of(publisher), b"camera1")) == 1)
    peer.subscribe("camera1")
    peer.subscribe(MARK + WHOLE)
    publisher.publish({"n": 1})
    assert not peer.poll(50)


def test_peer_hangs_up_on_nobody_else() -> None:
    import socket as sockets

    ours, theirs = sockets.socketpair()
    with ours, theirs:
        Peer(ours.fileno(), 1).hang_up()  # its descriptor is another's by now
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
        Peer(ours.fileno(), os.fstat(ours.fileno()).st_ino).hang_up()
        assert theirs.recv(1) == b""


def test_hanging_up_leaves_no_descriptor_open_when_a_file_has_got_that_of_the_peer(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        before = os.dup(0)
        os.close(before)
        Peer(file.fileno(), os.fstat(file.fileno()).st_ino).hang_up()
        after = os.dup(0)
        os.close(after)
    assert after == before


def test_publisher_that_is_idle_knows_all_that_a_client_subscribes_to_though_few_may_wait(
    plain_sides: Sides, opened: Open, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(granting, "_UNTIL_MORE", 1.0)
    monkeypatch.setattr(granting, "_LONGEST", 10.0)
    publisher = opened(plain_sides.server).new_publisher("camera1")
    socket = socket_of(publisher)
    with socket.lock:  # or else the supervisor looks too
        old = raw(zmq.SUB)
        for number in range(300):
            old.subscribe(f"camera{number}")
        old.connect(plain_sides.publisher)
        until(lambda: int(socket.link.socket.get(zmq.EVENTS)) & zmq.POLLIN)
        socket.read_subscriptions()
        assert len(socket._subscriptions._held) == 300  # type: ignore[attr-defined]


def test_subscriber_is_kept_that_came_again_before_the_end_of_its_former_connection_was_noticed(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    ask = Ask(b"1" * 8, WHOLE, b"camera1")
    former, anew = (raw(zmq.SUB, connect=plain_sides.publisher) for _ in range(2))
    for count, peer in enumerate((former, anew), start=1):
        peer.subscribe(b"camera1")
        peer.subscribe(ask.subscription)  # libzmq itself asks the same again
        changed_over(publisher, count)
    former.close()
    until(lambda: publisher._channel.subscribers() < 2)
    assert publisher._channel.subscribers() == 1


def test_answer_to_another_question_is_none() -> None:
    one, other = Ask(b"1" * 8, WHOLE, b"camera1"), Ask(b"2" * 8, WHOLE, b"camera1")
    answer = Hello(EPOCH, "w", "", {}).answer(one)
    assert read_hello(answer, one) is not None
    assert read_hello(answer, other) is None


def test_descriptor_is_refused_by_who_asked_for_no_shared_memory(
    make_sides: Callable[[str], Sides], opened: Open, raw: Raw
) -> None:
    publisher, subscriber, _ = new_publisher(make_sides("tcp"), opened, raw)
    publisher.send(PREFIX + pack_stamp(1, 1, 1, 1, 32, 0, 1) + bytes(32) + b"{}")
    publisher.send(whole(2, b'{"n":2}'))
    assert subscriber.recv(5000) == {"n": 2}
    assert subscriber.stats.malformed == 1


def test_messages_that_wait_are_progress(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    changed_over(publisher, 1)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000) == {"n": 1}
    publisher.publish({"n": 2})
    channel: Any = subscriber._channel
    until(lambda: channel.progress() is None)
    assert subscriber.recv(5000) == {"n": 2}


def test_socket_is_closed_again_when_its_events_cannot_be_had(
    plain_sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = opened(plain_sides.client)
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise zmq.ZMQError(errno.EMFILE)

        patched.setattr(zmq.Socket, "monitor", fail)
        with pytest.raises(mb.MessageBusError, match="Too many open files"):
            bus.new_subscriber("camera1")
    assert bus.new_subscriber("camera1").status.state == "connecting"


def test_response_says_why_nobody_is_served(plain_sides: Sides, opened: Open) -> None:
    service, requester = opened(plain_sides.server).new_service("echo"), opened(plain_sides.client).get_service("echo")
    requester.request({"n": 1})
    assert service.recv(5000) == {"n": 1}
    service._channel.link.stopped = "stopped for a test"  # type: ignore[attr-defined]
    with pytest.raises(mb.MessageBusError, match="stopped for a test"):
        service.response({"n": 1})
    service._channel.link.stopped = ""  # type: ignore[attr-defined]


def test_messages_with_blobs_end_a_batch_when_they_are_read_by_their_flags(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher, subscriber, _ = new_publisher(plain_sides, opened, raw)
    publisher.send_multipart([b"camera1\0"])  # too short: from now on the flag of every frame is looked at
    for number in range(40):
        publisher.send_multipart([b"camera1\0", b"\0", b"\2", b'{"n":%d}' % number, b"blob"])
        publisher.send_multipart([b"camera1\0", b"\0", b"\1", b'{"n":%d}' % number])
    assert receive(subscriber, 80) == [number for number in range(40) for _ in range(2)]
    for number in range(40):
        publisher.send_multipart([b"camera1\0", b"\0", b"\1", b'{"n":%d}' % number])
    assert receive(subscriber, 40) == list(range(40))
