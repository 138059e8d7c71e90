"""C6: messages that are too large. Who sends one by the bus is told, who sends one otherwise is cut off."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

import eis.msgbus as mb
from tests.reliability.conftest import Effort, Record
from tests.reliability.figures import milliseconds
from tests.reliability.oracle import Good
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD, Sides, serving, until

LIMIT = 200_000
MODES = ("ipc", "tcp")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sides(make_sides: Callable[[str], Sides], mode: str) -> Sides:
    sides, limit = make_sides(mode), {"max_message_bytes": LIMIT}
    return Sides({**sides.server, **limit}, {**sides.client, **limit}, sides.publisher, sides.service)


@contextmanager
def cut_off(peer: "zmq.Socket[bytes]") -> Iterator[None]:
    """See that the connection of `peer` is ended."""
    events = peer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    try:
        yield
        assert events.poll(5000), "it was not cut off"
        recv_monitor_message(events)
    finally:
        peer.disable_monitor()
        events.close()


def test_publisher_and_requester_are_told_and_nothing_is_sent(
    sides: Sides, opened: Open, effort: Effort, record: Record, mode: str
) -> None:
    server, client = opened(sides.server), opened(sides.client)
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    service, requester = server.new_service("echo"), client.get_service("echo")
    failures: list[object] = []
    attempts = effort(20, 1000)
    with Good(publisher, subscriber) as good, serving(service):
        for number in range(attempts):
            too_large = bytes(LIMIT + effort.random.choice((1, 2, 1000, LIMIT)))
            sender: Callable[[Any], object] = (publisher.publish, requester.request)[number % 2]
            try:
                sender(({"n": number}, too_large))
                failures.append(f"{len(too_large)} bytes were sent")
            except mb.InvalidMessage:
                pass
        assert requester.request({"n": 1}, timeout=5000).meta_data == {"n": 1}
        good.has_missed_nothing()
    record("C6", f"by the bus, {mode}", attempts=attempts, failures=failures)


def test_subscriber_is_back_after_a_publisher_sent_too_much(
    sides: Sides, opened: Open, raw: Raw, effort: Effort, record: Record, mode: str
) -> None:
    publisher = raw(zmq.XPUB, bind=sides.publisher)
    subscriber = opened(sides.client).new_subscriber("camera1")
    wait_for(publisher, b"\1camera1")
    times, attempts = [], effort(3, 60)
    for _ in range(attempts):
        begun = time.monotonic()
        publisher.send_multipart([b"camera1\0", b"\1", b"\1", bytes(LIMIT + 5000)])
        wait_for(publisher, b"\0camera1")
        wait_for(publisher, b"\1camera1")
        publisher.send_multipart(GOOD)
        assert subscriber.recv(10000).meta_data == {"n": 1}
        times.append(time.monotonic() - begun)
    record("C6", f"to a subscriber, {mode}", attempts=attempts, failures=[], seen=f"back after {milliseconds(times)}")
    assert max(times) < 10


def wait_for(publisher: "zmq.Socket[bytes]", subscription: bytes) -> None:
    while publisher.recv() != subscription:
        pass


def test_service_cuts_off_who_sends_too_much_and_serves_the_others(
    sides: Sides, opened: Open, raw: Raw, effort: Effort, record: Record, mode: str
) -> None:
    service, requester = opened(sides.server).new_service("echo"), opened(sides.client).get_service("echo")
    attempts = effort(3, 60)
    with serving(service):
        for number in range(attempts):
            peer = raw(zmq.DEALER)
            with cut_off(peer):
                peer.connect(sides.service)
                peer.send(bytes(LIMIT + 5000))
            peer.close()
            assert requester.request({"n": number}, timeout=5000).meta_data == {"n": number}
        assert (requester.stats.reconnects, requester.stats.received) == (0, attempts)
    record("C6", f"to a service, {mode}", attempts=attempts, failures=[])


def test_publisher_cuts_off_who_subscribes_to_too_long_a_topic_and_the_others_miss_nothing(
    sides: Sides, opened: Open, raw: Raw, effort: Effort, record: Record, mode: str
) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    attempts = effort(3, 60)
    with Good(publisher, subscriber) as good:
        for _ in range(attempts):
            peer = raw(zmq.XSUB)
            with cut_off(peer):
                peer.connect(sides.publisher)
                peer.send(b"\1camera" + bytes(5000))  # with 200,000 the peer itself would crash
            peer.close()
        good.has_missed_nothing()
    until(lambda: publisher._channel.subscribers() == 1)
    record("C6", f"to a publisher, {mode}", attempts=attempts, failures=[])
