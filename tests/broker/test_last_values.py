"""Who comes late gets the last value at once: the right one, once, and only who may have it."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus._waiting import poll
from eis.msgbus.broker import Broker, LastValue, LastValueStats
from eis.msgbus.broker.forwarding import Forwarding
from eis.msgbus.broker.last_values import LastValues
from tests.broker.conftest import BROKER, SUBSCRIBER, Place, Start, stream, streams_of
from tests.meeting import until
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD, running

Where = Callable[[str, str], Place]
ALL = LastValue()


def kept(broker: Broker) -> LastValueStats:
    assert broker.stats.last_values is not None
    return broker.stats.last_values


def published(broker: Broker, opened: Open, at: Place, *topics: str) -> list[mb.Publisher]:
    """Publish one message of each topic, in this order; all are kept before anybody subscribes."""
    publishers = []
    for count, topic in enumerate(topics, start=1):
        publisher = opened(at.publisher()).new_publisher(topic)
        publisher.wait_for_subscribers(1, 10_000)  # the broker is one
        publisher.publish(({"topic": topic}, bytes(10_000)))
        until(lambda count=count: kept(broker).topics == count)  # type: ignore[misc]
        publishers.append(publisher)
    return publishers


def topics_of(subscriber: mb.Subscriber[Any], count: int) -> list[str]:
    return [subscriber.recv(10_000).meta_data["topic"] for _ in range(count)]


@pytest.mark.parametrize("sides", [("ipc", "tcp"), ("tcp", "ipc"), ("curve", "curve")])
def test_late_joiner_gets_the_last_value_once_and_nobody_else_gets_it_again(
    place: Where, start: Start, opened: Open, sides: tuple[str, str]
) -> None:
    at = place(*sides)
    broker = start(at, last_value=ALL)
    (publisher,) = published(broker, opened, at, "camera1")
    late = [opened(at.subscriber()).new_subscriber("camera1") for _ in range(3)]
    for count, each in enumerate(late, start=1):
        envelope = each.recv(10_000)
        assert (envelope.name, envelope.meta_data, envelope.blob) == ("camera1", {"topic": "camera1"}, bytes(10_000))
        until(lambda count=count: kept(broker).given >= count)  # type: ignore[misc]
    for number in range(100):
        publisher.publish({"topic": str(number)})
        assert [topics_of(each, 1) for each in late] == [[str(number)]] * 3
    newest = opened(at.subscriber()).new_subscriber("camera1")
    assert topics_of(newest, 1) == ["99"]
    assert [each.stats.received for each in (*late, newest)] == [101, 101, 101, 1]


@pytest.mark.parametrize("sides", [("ipc", "ipc"), ("tcp", "tcp")])
def test_nobody_gets_a_message_twice_or_out_of_order_while_others_come_and_go(
    place: Where, start: Start, opened: Open, raw: Raw, sides: tuple[str, str]
) -> None:
    at = place(*sides)
    start(at, last_value=ALL)
    publisher = opened(at.publisher()).new_publisher("camera1")
    publisher.wait_for_subscribers(1, 10_000)
    steady = raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera1", rcvhwm=0)
    until(lambda: publish(publisher) and steady.poll(20))
    stop = threading.Event()
    with running(lambda: stream(publisher, stop)):
        for _ in range(LATE):
            late = raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera1")
            seen = [number_of(late) for _ in range(3)]
            assert seen == list(range(seen[0], seen[0] + 3))
            late.close()
        stop.set()
    numbers = []
    while steady.poll(200):
        numbers.append(number_of(steady))
    numbers = [number for number in numbers if number]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > LATE


LATE = 200


def publish(publisher: mb.Publisher) -> bool:
    publisher.publish({"n": 0})
    return True


def number_of(socket: "zmq.Socket[bytes]") -> int:
    return int(socket.recv_multipart()[3][5:-1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell whether a connection is closed")
def test_value_for_who_has_left_before_it_was_read_is_given_to_nobody(
    place: Where, start: Start, opened: Open, raw: Raw
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, last_value=ALL)
    (publisher,) = published(broker, opened, at, "camera1")
    steady, leaving = (raw(kind, connect=at.address("backend")) for kind in (zmq.SUB, zmq.XSUB))
    steady.subscribe(b"camera1")
    leaving.send(b"\1camera1")
    assert steady.recv_multipart()[0] == leaving.recv_multipart()[0] == b"camera1\0"
    way: Any = streams_of(broker)._way
    both = set(way._subscriptions._held[b"camera1"])
    leaving.send(b"\0camera1")
    until(lambda: way._wanted.subscriptions[b"camera1"] == 1)
    (peer,) = both - set(way._subscriptions._held[b"camera1"])
    backend = streams_of(broker).backend
    with way.turns:  # the broker reads what it took in after the connection's end
        leaving.send(b"\1camera1")
        until(lambda: int(backend.socket.get(zmq.EVENTS)) & zmq.POLLIN)
        leaving.close()
        until(lambda: peer.gone)
    until(lambda: kept(broker).missed == 1)
    publisher.publish({"n": 1})
    assert number_of(steady) == 1


def test_exact_topic_comes_before_a_newer_one_that_begins_so_and_a_prefix_gets_the_newest(
    place: Where, start: Start, opened: Open
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, last_value=ALL)
    published(broker, opened, at, "camera1", "camera10", "other")
    for prefix, topic in (("camera1", "camera1"), ("camera", "camera10"), ("", "other"), ("o", "other")):
        subscriber = opened(at.subscriber()).new_subscriber(prefix)
        assert topics_of(subscriber, 1) == [topic]
        with pytest.raises(mb.ReceiveTimeout):
            subscriber.recv(50)


def test_nothing_is_given_where_nothing_was_published_and_the_next_message_is_for_all(
    place: Where, start: Start, opened: Open
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, last_value=ALL)
    first = opened(at.subscriber()).new_subscriber("camera1")
    until(lambda: streams_of(broker)._way._wanted.subscriptions[b"camera1"] == 1)  # type: ignore[union-attr]
    second = opened(at.subscriber()).new_subscriber("camera1")
    until(lambda: streams_of(broker)._way._wanted.subscriptions[b"camera1"] == 2)  # type: ignore[union-attr]
    published(broker, opened, at, "camera1")
    assert [topics_of(each, 1) for each in (first, second)] == [["camera1"]] * 2


def test_only_topics_that_are_named_are_kept_and_publishers_hear_of_these(
    place: Where, start: Start, opened: Open, raw: Raw
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, last_value=LastValue(("state", "alarm")))
    bare = raw(zmq.XPUB, connect=at.address("frontend"), xpub_verboser=1)
    assert {bare.recv(), bare.recv()} == {b"\1state", b"\1alarm"}
    subscriber = opened(at.subscriber()).new_subscriber("state1")
    assert bare.recv() == b"\1state1"
    for topic in (b"state1\0", b"other\0", b"state2\0"):
        bare.send_multipart([topic, *GOOD[1:]])
    until(lambda: kept(broker).topics == 2)
    assert subscriber.recv(10_000).name == "state1"
    other = opened(at.subscriber()).new_subscriber("other")
    assert bare.recv() == b"\1other"
    bare.send_multipart([b"other\0", *GOOD[1:]])
    assert other.recv(10_000).name == "other"
    assert kept(broker).topics == 2
    other.close()
    assert bare.recv() == b"\0other"
    watching = opened(at.subscriber()).new_subscriber("state")
    assert watching.recv(10_000).name == "state2"
    watching.close()
    subscriber.close()
    assert bare.recv() == b"\0state1"  # and nothing of what the broker wants itself
    subscribers = {name: topic.subscribers for name, topic in (broker.stats.topics or {}).items()}
    assert subscribers == dict.fromkeys(("state1", "other", "state2"), 0)


def test_who_may_not_read_a_topic_gets_no_last_value_of_it(place: Where, start: Start, opened: Open, raw: Raw) -> None:
    at = place("curve", "curve")
    broker = start(at, backend={"topics": {"camera1": ["sub"], "camera2": []}}, last_value=ALL)
    published(broker, opened, at, "camera1", "camera2")
    topics = ("camera2", "camera", "")
    refused = [opened(at.subscriber(SUBSCRIBER, *topics)).new_subscriber(topic) for topic in topics]
    bare = raw(zmq.XSUB, connect=at.address("backend"), **curve(SUBSCRIBER))
    bare.send(b"\1camera2")
    bare.send(b"\1camera1")
    assert bare.recv_multipart()[0] == b"camera1\0"
    until(lambda: broker.stats.refused >= 4)
    allowed = opened(at.subscriber()).new_subscriber("camera1")
    assert topics_of(allowed, 1) == ["camera1"]
    assert kept(broker).given == 2
    for each in refused:
        with pytest.raises(mb.ReceiveTimeout):
            each.recv(50)
    assert not bare.poll(50)


def curve(pair: keys.KeyPair) -> dict[str, bytes]:
    """Return the options of a bare socket that connects with these keys."""
    named = {"curve_serverkey": BROKER.public, "curve_publickey": pair.public, "curve_secretkey": pair.secret}
    return {name: key.encode() for name, key in named.items()}


@pytest.mark.parametrize("strange", [b"\2", b"nonsense"])
def test_frame_that_is_no_subscription_gives_nobody_the_value_of_another(
    place: Where, start: Start, opened: Open, raw: Raw, strange: bytes
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, last_value=ALL)
    published(broker, opened, at, "camera1", "other")
    stranger, honest = (raw(zmq.XSUB, connect=at.address("backend")) for _ in range(2))
    for each in (stranger, honest):  # both are connected
        each.send(b"\1camera1")
        assert each.recv_multipart()[0] == b"camera1\0"
        each.send(b"\0camera1")
    backend = streams_of(broker).backend
    until(lambda: not streams_of(broker)._way._wanted.subscriptions)  # type: ignore[union-attr]
    with streams_of(broker)._way.turns:  # the broker reads at one go what comes meanwhile, in this order
        for each, frames in ((stranger, (strange, b"\1camera1")), (honest, (b"\1other",))):
            backend.socket.get(zmq.EVENTS)
            for frame in frames:
                each.send(frame)
            assert poll((backend.fd,), 10)
    assert honest.recv_multipart()[0] == b"other\0"
    assert stranger.recv_multipart()[0] == b"camera1\0"
    assert not any(each.poll(50) for each in (stranger, honest))


def test_subscription_that_is_repeated_gives_no_value_again(place: Where, start: Start, opened: Open, raw: Raw) -> None:
    at = place("ipc", "ipc")
    broker = start(at, last_value=ALL)
    published(broker, opened, at, "camera1", "other")
    bare = raw(zmq.XSUB, connect=at.address("backend"))
    for what in (b"\1camera1", b"\1camera1", b"\1other"):
        bare.send(what)
    assert [bare.recv_multipart()[0] for _ in range(2)] == [b"camera1\0", b"other\0"]


def test_value_for_which_the_queue_of_its_receiver_has_no_room_is_left_out_and_counted(
    place: Where, start: Start, opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = threading.Event()

    def full(*_: object) -> None:
        tried.set()
        raise zmq.Again

    at = place("ipc", "ipc")
    broker = start(at, last_value=ALL)
    (publisher,) = published(broker, opened, at, "camera1")
    way = streams_of(broker)._way
    assert isinstance(way, Forwarding)
    with monkeypatch.context() as patched:
        patched.setattr(way, "_send", full)
        subscriber = opened(at.subscriber()).new_subscriber("camera1")
        assert tried.wait(10)
    publisher.publish({"topic": "next"})
    assert topics_of(subscriber, 1) == ["next"]
    assert (kept(broker).given, kept(broker).missed) == (0, 1)
    assert "the last value of 'camera1' is not given to a new subscriber" in caplog.text


def test_subscription_is_granted_although_it_never_becomes_quiet_and_what_is_not_given_is_counted(
    place: Where, start: Start, opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("eis.msgbus.broker.wanted.is_quiet", lambda _: False)
    at = place("ipc", "ipc")
    broker = start(at, last_value=ALL)
    (publisher,) = published(broker, opened, at, "camera1")
    subscriber = opened(at.subscriber()).new_subscriber("camera1")
    until(lambda: streams_of(broker)._way._wanted.subscriptions[b"camera1"] == 1)  # type: ignore[union-attr]
    publisher.publish({"topic": "next"})
    assert topics_of(subscriber, 1) == ["next"]
    assert (kept(broker).given, kept(broker).missed) == (0, 1)
    assert "the last value of 'camera1' is not given to a new subscriber" in caplog.text


FLOOD = """
import sys
import zmq
socket = zmq.Context().socket(zmq.XSUB)
socket.connect(sys.argv[1])
socket.send(b"\\1camera1")
socket.recv_multipart()
print("connected", flush=True)
while True:
    socket.send(b"\\1x")
    socket.send(b"\\0x")
"""


def test_client_that_floods_subscriptions_is_cut_off_and_keeps_nobody_else_out(
    place: Where, start: Start, opened: Open, raw: Raw
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, last_value=ALL)
    (publisher,) = published(broker, opened, at, "camera1")
    command = [sys.executable, "-c", FLOOD, at.address("backend")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as flooder:
        try:
            assert flooder.stdout is not None
            assert flooder.stdout.readline() == b"connected\n"
            for _ in range(10):
                late = raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera1")
                until(lambda late=late: publish(publisher) and late.poll(20))  # type: ignore[misc]
                late.close()
            until(lambda: streams_of(broker).backend.failed > 0)
        finally:
            flooder.kill()


def test_client_with_rights_that_floods_subscriptions_is_barred_and_nothing_is_granted_then(
    place: Where, start: Start, raw: Raw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("eis.msgbus.broker.wanted._AT_A_TIME", 100)
    at = place("curve", "curve")
    broker = start(at, backend={"topics": {"camera1": ["sub"]}}, last_value=ALL)
    bare = raw(zmq.XSUB, connect=at.address("backend"), **curve(SUBSCRIBER))
    bare.send(b"\1camera1")
    until(lambda: streams_of(broker)._way._wanted.subscriptions[b"camera1"] == 1)  # type: ignore[union-attr]
    with streams_of(broker)._way.turns:  # the broker reads at one go what comes meanwhile
        for _ in range(101):
            bare.send(b"\1camera1")
        assert poll((streams_of(broker).backend.fd,), 10)
    until(lambda: "sent too many subscriptions at a time" in caplog.text)
    until(lambda: not streams_of(broker)._way._wanted.subscriptions)  # type: ignore[union-attr]


def test_oldest_values_make_room_and_that_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    values = LastValues(LastValue(("",), 2, 100))
    with caplog.at_level(logging.WARNING):
        for name, size in ((b"a\0", 10), (b"b\0", 10), (b"a\0", 20), (b"c\0", 70)):
            values.keep((name, bytes(size)))
    assert (values.newest(b"b"), values.newest(b"")) == (None, (b"c\0", bytes(70)))
    assert values.stats == LastValueStats(2, 94, 0, 1)
    values.keep((b"d\0", bytes(60)))
    assert values.stats == LastValueStats(1, 62, 0, 3)
    values.keep((b"d\0", bytes(99)))
    assert (values.newest(b"d"), values.stats) == (None, LastValueStats(0, 0, 0, 4))
    assert "the last value of 'b' is not kept: there is room for 2 topics and 100 bytes" in caplog.text


def test_small_frames_are_copied_so_that_they_do_not_keep_the_buffer_they_came_in() -> None:
    values = LastValues(ALL)
    values.keep([b"b\0", *[b"xy"] * 258])
    assert values.stats == LastValueStats()
    frames = [b"a\0", zmq.Frame(bytes(10)), zmq.Frame(bytes(10_000))]
    values.keep(frames)
    assert [type(frame) for frame in values.newest(b"a") or ()] == [bytes, bytes, zmq.Frame]
