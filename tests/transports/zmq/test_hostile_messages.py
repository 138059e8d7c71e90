"""Peers that break the rules of the wire: what they send is refused and counted, and the next good message arrives."""

from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD, Sides, until

N = b"camera1\0"
BROKEN = {
    "one-frame": [N],
    "two-frames": [N, b"\0"],
    "three-frames": [N, b"\0", b"\1"],
    "no-parts": [N, b"\0", b"\0"],
    "one-frame-of-nothing": [b""],
    "four-frames-of-nothing": [b"", b"", b"", b""],
    "too-few-parts": [N, b"\0", b"\3", b"{}", b"x"],
    "too-many-parts": [N, b"\0", b"\1", b"{}", b"x"],
    "huge-count": [N, b"\0", b"\xff", b"{}"],
    "long-count": [N, b"\0", b"\1" * 100_000, b"{}"],
    "empty-count": [N, b"\0", b"", b"{}"],
    "unknown-type": [N, b"\2", b"\1", b"{}"],
    "empty-type": [N, b"", b"\1", b"{}"],
    "broken-json": [N, b"\0", b"\1", b'{"n":'],
    "empty-json": [N, b"\0", b"\1", b""],
    "array": [N, b"\0", b"\1", b"[1]"],
    "no-utf-8": [N, b"\0", b"\1", b'{"n":"\xff"}'],
    "name-no-utf-8": [N + b"\xff", *GOOD[1:]],
    "deep-json": [N, b"\0", b"\1", b'{"n":' * 100_000],
    "two-in-one": [*GOOD, *GOOD],
    "many-frames": [N, b"\0", b"\1"] + [b"x"] * 3000,
    "two-blobs-without-metadata": [N, b"\1", b"\2", b"x", b"y"],
}


@pytest.fixture
def bus(plain_sides: Sides, opened: Open) -> mb.MsgbusContext:
    return opened(plain_sides.client)


def good(number: int) -> list[bytes]:
    return [N, b"\0", b"\1", b'{"good":%d}' % number]


@pytest.fixture
def met(plain_sides: Sides, bus: mb.MsgbusContext, raw: Raw) -> tuple["zmq.Socket[bytes]", mb.Subscriber[Any]]:
    """A bare publisher whose subscriber (of every topic) is there."""
    publisher = raw(zmq.XPUB, bind=plain_sides.publisher)
    subscriber = bus.new_subscriber("")
    assert publisher.recv() == b"\1"
    return publisher, subscriber


@pytest.mark.parametrize("name", BROKEN)
def test_subscriber_refuses_and_counts_and_gets_the_next_good_message(
    met: tuple["zmq.Socket[bytes]", mb.Subscriber[Any]], name: str
) -> None:
    publisher, subscriber = met
    for number, frames in enumerate([BROKEN[name], [b"x"], BROKEN[name]]):
        publisher.send_multipart(frames)
        publisher.send_multipart(good(number))
        publisher.send_multipart(good(number + 10))
    received = [subscriber.recv(5000).meta_data["good"] for _ in range(6)]
    assert received == [0, 10, 1, 11, 2, 12]
    assert 1 <= subscriber.stats.malformed <= 3  # what came in one go is not told apart


def test_good_messages_arrive_when_broken_ones_stand_between_them_in_any_order(
    met: tuple["zmq.Socket[bytes]", mb.Subscriber[Any]],
) -> None:
    publisher, subscriber = met
    frames = [b"", b"\0", b"\1", b"\2", b"\4", N, b"{}", b"x", b"y" * 200_000]
    broken = st.lists(st.lists(st.integers(0, len(frames) - 1), min_size=1, max_size=7), max_size=6)
    numbers = iter(range(1_000_000))

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(broken)
    def publish(messages: list[list[int]]) -> None:
        number = next(numbers)
        for message in messages:
            publisher.send_multipart([frames[index] for index in message])
        publisher.send_multipart(good(number))
        until(lambda: subscriber.recv(5000).meta_data == {"good": number})

    publish()


@pytest.mark.parametrize("name", BROKEN)
def test_service_answers_with_an_error_and_goes_on(plain_sides: Sides, opened: Open, raw: Raw, name: str) -> None:
    service = opened(plain_sides.server).new_service("echo")
    requester = raw(zmq.REQ, connect=plain_sides.service)
    requester.send_multipart(BROKEN[name])

    def refused() -> bool:
        with pytest.raises(mb.ReceiveTimeout):
            service.recv(5)
        return service.stats.malformed == 1

    until(refused)
    reply = requester.recv_multipart()
    assert reply[:3] == [b"echo\0", b"\0", b"\1"]
    assert b"service echo refuses the request" in reply[3]
    assert service.stats.malformed == 1
    requester.send_multipart(good(1))
    assert service.recv(5000).meta_data == {"good": 1}
    service.response({})
    assert requester.recv_multipart()[3] == b"{}"


def test_service_goes_on_when_a_request_has_no_delimiter(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    service = opened(plain_sides.server).new_service("echo")
    dealer = raw(zmq.DEALER, connect=plain_sides.service)
    for frames in ([b"x"], [b"x", b"y"], [b""], [b"", b""]):
        dealer.send_multipart(frames)
    dealer.send_multipart([b"", *good(1)])
    assert service.recv(5000).meta_data == {"good": 1}
    assert service.stats.malformed == 4
    service.response({"n": 1})
    replies = [dealer.recv_multipart() for _ in range(5)]
    assert replies[-1] == [b"", b"echo\0", b"\0", b"\1", b'{"n":1}']


def test_service_forgets_a_request_whose_client_is_gone(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    service = opened(plain_sides.server).new_service("echo")
    gone = raw(zmq.REQ, connect=plain_sides.service)
    gone.send_multipart(good(1))
    service.recv(5000)
    gone.close()
    other = raw(zmq.REQ, connect=plain_sides.service)
    other.send_multipart(good(2))
    request = service.recv(5000)
    assert request.meta_data == {"good": 2}
    service.response({"n": 2})
    assert other.recv_multipart()[3] == b'{"n":2}'


@pytest.mark.parametrize("name", BROKEN)
def test_requester_raises_and_its_next_request_works(
    plain_sides: Sides, bus: mb.MsgbusContext, raw: Raw, name: str
) -> None:
    router = raw(zmq.ROUTER, bind=plain_sides.service)
    requester = bus.get_service("echo")
    requester.request({"n": 1})
    identity, delimiter, *_ = router.recv_multipart()
    router.send_multipart([identity, delimiter, *BROKEN[name]])
    with pytest.raises(mb.InvalidMessage, match="requester echo got a reply that it cannot read"):
        requester.recv(5000)
    assert requester.stats.malformed == 1
    requester.request({"n": 2})
    identity, delimiter, *request = router.recv_multipart()
    router.send_multipart([identity, delimiter, *request])
    assert requester.recv(5000).meta_data == {"n": 2}


def test_requester_is_told_and_goes_on_when_a_reply_has_no_delimiter(
    plain_sides: Sides, bus: mb.MsgbusContext, raw: Raw
) -> None:
    """It is libzmq that hangs up on such a service."""
    router = raw(zmq.ROUTER, bind=plain_sides.service)
    requester = bus.get_service("echo")
    requester.request({"n": 1})
    identity, _, *request = router.recv_multipart()
    router.send_multipart([identity, b"x", *request])
    with pytest.raises(mb.Disconnected):
        requester.recv(5000)
    requester.request({"n": 2})
    router.send_multipart(router.recv_multipart())
    assert requester.recv(5000).meta_data == {"n": 2}


def test_two_short_messages_do_not_swallow_the_next_that_would_fit_them(
    met: tuple["zmq.Socket[bytes]", mb.Subscriber[Any]],
) -> None:
    publisher, subscriber = met
    for frames in ([N], [b"\1", b"\4"], good(1)):  # of a blob alone, with four parts: there are four behind it
        publisher.send_multipart(frames)
    assert subscriber.recv(5000).meta_data == {"good": 1}


def test_three_short_messages_do_not_swallow_the_next_that_would_fit_them(
    met: tuple["zmq.Socket[bytes]", mb.Subscriber[Any]],
) -> None:
    publisher, subscriber = met
    for frames in ([N], [b"\0"], [b"\4"], good(1)):  # of JSON, with four parts: there are four behind it
        publisher.send_multipart(frames)
    assert subscriber.recv(5000).meta_data == {"good": 1}
    assert 1 <= subscriber.stats.malformed <= 3  # what came in one go is not told apart
