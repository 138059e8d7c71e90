"""Messages through a broker: everything arrives once and in order, whoever is on which side, and ends with it."""

import contextlib
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus.broker import Broker, Settings, Side, TopicStats
from eis.msgbus.broker.forwarding import Forwarding
from eis.msgbus.broker.proxying import Proxying
from eis.msgbus.broker.stats import Counters, by_topic
from eis.msgbus.broker.turns import Turns
from tests.broker.conftest import Place, Start, stream, streams_of
from tests.meeting import until
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD, running

Where = Callable[[str, str], Place]

MIXES = [
    *itertools.product(("ipc", "tcp"), ("ipc", "tcp"), (False, True)),
    ("curve", "curve", False),
    ("curve", "curve", True),
]
"""Frontend, backend, and whether messages are counted."""


@pytest.mark.parametrize("mix", MIXES)
def test_new_and_old_peers_get_every_message_once_when_they_join_a_running_stream(
    place: Where, start: Start, opened: Open, raw: Raw, mix: tuple[str, str, bool]
) -> None:
    front, back, counting = mix
    at = place(front, back)
    broker = start(at, counting=counting)
    publisher = opened(at.publisher()).new_publisher("camera1")
    first = opened(at.subscriber()).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 0})
    assert first.recv(5000).meta_data == {"n": 0}
    stop = threading.Event()
    with running(lambda: stream(publisher, stop)):
        late = [opened(at.subscriber()).new_subscriber("camera1") for _ in range(2)]
        numbers = [[each.recv(5000).meta_data["n"] for _ in range(300)] for each in (first, *late)]
        old = [] if back == "curve" else old_numbers(raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera1"))
        stop.set()
    for seen in (*numbers, *([old] if old else [])):
        assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert numbers[0][0] == 1
    assert {subscriber.stats.form for subscriber in (first, *late)} == {"plain"}
    assert (broker.stats.topics is None) is not counting


def old_numbers(subscriber: "zmq.Socket[bytes]") -> list[int]:
    return [int(subscriber.recv_multipart()[3][5:-1]) for _ in range(100)]


@pytest.mark.parametrize("counting", [False, True], ids=["proxy", "counting"])
def test_old_publisher_reaches_new_subscribers_and_hears_of_the_first_and_the_last_only(
    place: Where, start: Start, opened: Open, raw: Raw, counting: bool
) -> None:
    at = place("ipc", "ipc")
    start(at, counting=counting)
    publisher = raw(zmq.XPUB, connect=at.address("frontend"), xpub_verboser=1)
    subscribers = [raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera1") for _ in range(2)]
    new = opened(at.subscriber()).new_subscriber("camera1")
    assert publisher.recv() == b"\1camera1"
    for each in subscribers:
        until(lambda each=each: published(publisher) and each.poll(20))  # type: ignore[misc]
        assert each.recv_multipart() == GOOD
    until(lambda: published(publisher) and came(new))
    new.close()
    for each in subscribers:
        each.close()
    assert until_gone(publisher) == [b"\0camera1"]


def came(subscriber: mb.Subscriber[Any]) -> bool:
    try:
        return bool(subscriber.recv(20))
    except mb.ReceiveTimeout:
        return False


def published(publisher: "zmq.Socket[bytes]") -> bool:
    publisher.send_multipart(GOOD)
    return True


def until_gone(publisher: "zmq.Socket[bytes]") -> list[bytes]:
    """Return what is heard of plain subscriptions, up to the end of the last."""
    heard: list[bytes] = []
    while b"\0camera1" not in heard:
        heard += [frame for frame in (publisher.recv(),) if frame[1:2] != b"\xff"]
    return heard


def test_topics_are_counted_with_bytes_and_subscribers_when_asked_for(place: Where, start: Start, opened: Open) -> None:
    at = place("ipc", "ipc")
    broker = start(at, counting=True)
    bus = opened(at.publisher())
    client = opened(at.subscriber())
    subscribers = [client.new_subscriber(topic) for topic in ("camera1", "camera", "camera2")]
    publishers = [bus.new_publisher(topic) for topic in ("camera1", "camera2")]
    for publisher in publishers:
        publisher.wait_for_subscribers(2, 5000)
        publisher.publish(({"n": 1}, bytes(1000)))
    for subscriber in subscribers:
        assert subscriber.recv(5000).meta_data == {"n": 1}
    assert broker.stats.topics == {
        "camera1": TopicStats(1, 1017, subscribers=2),
        "camera2": TopicStats(1, 1017, subscribers=2),
    }
    subscribers[0].close()
    until(lambda: (broker.stats.topics or {})["camera1"].subscribers == 1)


def test_topics_beyond_the_limit_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eis.msgbus.broker.stats._MOST", 2)
    counters = Counters()
    for name in (b"a\0", b"b\0", b"c\0", b"d\0", b"a\0"):
        counters.of(name)[0] += 1
    assert {name: topic.messages for name, topic in by_topic(counters.copied(), {}).items()} == {
        "a": 2,
        "b": 1,
        "(others)": 2,
    }


def test_long_names_are_counted_together_and_take_no_memory() -> None:
    counters = Counters()
    for length in (513, 514, 1_000_000):
        counters.of(b"x" * length)[0] += 1
    assert {len(name): counts[0] for name, counts in counters.copied().items()} == {513: 1, len(b"(others)"): 2}


def test_name_without_its_nul_is_the_same_topic() -> None:
    counters = Counters()
    counters.of(b"camera1\0")[:] = [5, 500, 1, 0]
    counters.of(b"camera1")[:] = [0, 0, 0, 1]
    stats = by_topic(counters.copied(), {b"": 1, b"cam": 2, b"camera10": 4, b"other": 8})
    assert stats == {"camera1": TopicStats(5, 500, 1, 1, 3)}


def flooded(at: Place, opened: Open, raw: Raw, publish: int) -> tuple[mb.Publisher, "zmq.Socket[bytes]"]:
    """Publish 10 kB so many times to a subscriber that does not read."""
    publisher = opened(at.publisher()).new_publisher("camera1")
    slow = raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera1", rcvhwm=1)
    publisher.wait_for_subscribers(1, 5000)
    for number in range(publish):
        publisher.publish(({"n": number}, bytes(10_000)))
    return publisher, slow


def received(slow: "zmq.Socket[bytes]") -> list[int]:
    numbers, slow.rcvtimeo = [], 500
    try:
        while True:
            numbers.append(int(slow.recv_multipart()[3][5:-1]))
    except zmq.Again:
        return numbers


def test_drops_are_counted_when_a_subscriber_does_not_read(place: Where, start: Start, opened: Open, raw: Raw) -> None:
    at = place("ipc", "ipc")
    broker = start(at, counting=True, send_queue=10)
    publisher, slow = flooded(at, opened, raw, 1000)
    passed = 1000 - publisher.stats.dropped
    until(lambda: (broker.stats.topics or {})["camera1"].messages == passed)
    dropped = (broker.stats.topics or {})["camera1"].dropped
    numbers = received(slow)
    assert dropped > 0
    assert numbers == sorted(set(numbers))
    assert len(numbers) == passed - dropped


def test_others_get_everything_and_the_broker_ends_when_a_subscriber_does_not_read(
    place: Where, start: Start, opened: Open, raw: Raw
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, send_queue=10)
    reading = raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera1", rcvhwm=0)
    publisher, _slow = flooded(at, opened, raw, 200)
    first = reads_again(publisher, reading, 200)
    for number in range(first, first + 1000):
        publisher.publish({"n": number})
        while number not in received_now(reading):
            assert reading.poll(5000)
    closing = threading.Thread(target=broker.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()


def reads_again(publisher: mb.Publisher, reading: "zmq.Socket[bytes]", number: int) -> int:
    """Publish until what was published arrives: the flood was more than there was room for. Return the next number."""

    def arrives() -> bool:
        nonlocal number
        number += 1
        publisher.publish({"n": number - 1})
        return bool(reading.poll(50)) and number - 1 in received_now(reading)

    until(arrives)
    return number


def received_now(socket: "zmq.Socket[bytes]") -> list[int]:
    """Return the numbers of what is there."""
    numbers = []
    with contextlib.suppress(zmq.Again):
        while True:
            numbers.append(int(socket.recv_multipart(zmq.NOBLOCK)[3][5:-1]))
    return numbers


def test_topic_whose_subscribers_read_drops_nothing_while_another_stalls(
    place: Where, start: Start, opened: Open, raw: Raw
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, counting=True, send_queue=10)
    publisher, _slow = flooded(at, opened, raw, 1000)
    until(lambda: (broker.stats.topics or {})["camera1"].dropped > 0)
    other = opened(at.publisher()).new_publisher("camera2")
    reading = raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera2")
    other.wait_for_subscribers(1, 5000)
    first = reads_again(other, reading, 0)
    for number in range(first, first + 20):
        other.publish({"n": number})
        assert reading.recv_multipart()[3] == b'{"n":%d}' % number
    topics = broker.stats.topics or {}
    assert topics["camera2"].messages >= 20
    assert topics["camera2"].dropped == 0
    assert publisher.stats.sent == 1000


def test_nothing_is_dropped_in_the_broker_when_it_may_not(place: Where, start: Start, opened: Open, raw: Raw) -> None:
    at = place("ipc", "ipc")
    broker = start(at, send_queue=10, nodrop=True)
    publisher, slow = flooded(at, opened, raw, 1000)
    numbers = received(slow)
    assert len(numbers) == 1000 - publisher.stats.dropped
    topics = broker.stats.topics or {}
    assert topics["camera1"].dropped == 0


def test_message_for_which_there_is_room_at_second_sight_is_carried_and_not_counted_as_dropped(
    place: Where, start: Start, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, counting=True)
    publisher = opened(at.publisher()).new_publisher("camera1")
    subscriber = opened(at.subscriber()).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    way = streams_of(broker)._way
    assert isinstance(way, Forwarding)
    send, refused = way._send, list[bool]()

    def refuse_once(*frame: Any) -> Any:
        if not refused:
            refused.append(True)
            raise zmq.Again
        return send(*frame)

    with way.turns:
        monkeypatch.setattr(way, "_send", refuse_once)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}
    assert refused == [True]
    assert (broker.stats.topics or {})["camera1"].dropped == 0


@pytest.mark.parametrize("counting", [False, True], ids=["proxy", "counting"])
def test_what_was_taken_is_delivered_and_the_addresses_are_free_when_it_is_closed(
    place: Where, start: Start, raw: Raw, counting: bool
) -> None:
    at = place("ipc", "ipc")
    for _ in range(2):
        broker = start(at, counting=counting)
        publisher = raw(zmq.XPUB, connect=at.address("frontend"))
        subscriber = raw(zmq.SUB, connect=at.address("backend"), subscribe=b"camera1")
        assert publisher.recv() == b"\1camera1"
        with streams_of(broker)._way.turns:  # nothing is carried meanwhile
            for _ in range(350):
                publisher.send_multipart(GOOD)
            front = streams_of(broker).frontend.socket
            until(lambda socket=front: int(socket.get(zmq.EVENTS)) & zmq.POLLIN)  # type: ignore[misc]
            streams_of(broker)._closing = True
            streams_of(broker)._way.finish(0)  # no time for all of them
        broker.close()
        assert all(subscriber.recv_multipart() == GOOD for _ in range(100))
        assert broker.wait(0)
        assert not [path for path in at.directory.iterdir() if path.is_socket()]


@pytest.mark.parametrize("counting", [False, True], ids=["proxy", "counting"])
def test_addresses_are_free_and_the_reason_is_told_when_the_broker_ends_by_itself(
    place: Where, start: Start, opened: Open, monkeypatch: pytest.MonkeyPatch, counting: bool
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("broken")

    at = place("ipc", "ipc")
    broker = start(at, counting=counting)
    subscriber = opened(at.subscriber()).new_subscriber("camera1")
    until(lambda: subscriber.status.state == "connected")
    monkeypatch.setattr(Forwarding if counting else Proxying, "work", broken)
    streams_of(broker)._way.turns.hurry()
    streams_of(broker).changed()
    with pytest.raises(mb.MessageBusError, match="the broker has ended: broken"):
        broker.wait(20)
    until(lambda: subscriber.status.state == "reconnecting")
    start(at)  # another one may listen there
    assert broker.stats.refused == 0


def test_wait_is_short_each_time_so_that_ctrl_c_is_seen_on_every_system(place: Where, start: Start) -> None:
    broker = start(place("ipc", "ipc"))
    waits: list[float] = []

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            return len(waits) > 3

    broker._ended = Ended()
    assert broker.wait()
    assert not broker.wait(0)
    assert max(waits) <= 0.5
    assert len(waits) == 4


def test_nothing_is_left_open_when_a_side_cannot_listen(place: Where, start: Start) -> None:
    at = place("ipc", "ipc")
    start(at)
    (at.directory / "frontend2").mkdir()
    sides = [{**at.side(name), "": {"socket_file": file}} for name, file in (("frontend", "f"), ("backend", "backend"))]
    with pytest.raises(mb.AddressInUse, match="another publisher or service listens"):
        Broker(Settings(Side("frontend", sides[0]), Side("backend", sides[1])))
    assert not (at.directory / "f").exists()


@pytest.mark.parametrize("counting", [False, True], ids=["proxy", "counting"])
def test_others_have_the_sockets_at_once_when_the_broker_is_busy_or_idle(
    place: Where, start: Start, opened: Open, counting: bool
) -> None:
    at = place("ipc", "ipc")
    broker = start(at, counting=counting)
    publisher = opened(at.publisher()).new_publisher("camera1")
    subscriber = opened(at.subscriber()).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    stop = threading.Event()
    with running(lambda: stream(publisher, stop)):
        for _ in range(100):
            with streams_of(broker)._way.turns, streams_of(broker)._way.turns:
                assert streams_of(broker).backend.socket.get(zmq.TYPE) == zmq.XPUB
        stop.set()
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_broker_thread_lets_everybody_in_who_waits() -> None:
    hurried = threading.Event()
    turns = Turns(hurried.set)
    turns.own.acquire()
    entered = threading.Event()

    def enter() -> None:
        with turns:
            entered.set()

    with running(enter):
        assert hurried.wait(10)
        turns.own.release()
        turns.give_way()
        assert entered.wait(10)


def test_socket_files_are_for_their_group_only(place: Where, start: Start) -> None:
    at = place("ipc", "ipc")
    start(at)
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path(at.directory).iterdir() if path.is_socket()}
    assert modes == {"frontend": 0o660, "backend": 0o660}


def test_configuration_of_a_side_is_refused_with_its_place(place: Where, start: Start) -> None:
    at = place("tcp", "tcp")
    for more, where in (({"brokered": True}, "brokered"), ({"server_secret_key": "x"}, "server_secret_key")):
        wrong: dict[str, Any] = {"backend": more}
        with pytest.raises(mb.InvalidConfig) as refused:
            start(at, **wrong)
        assert refused.value.where == f"backend.zmq_tcp_publish.{where}"
