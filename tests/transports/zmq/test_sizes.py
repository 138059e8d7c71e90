"""Messages that are too large: refused before they are sent, and the bus goes on."""

from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD, Sides, running, until

LIMIT = 200_000


@pytest.fixture
def limited(sides: Sides) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configurations of both sides, with a limit."""
    return {**sides.server, "max_message_bytes": LIMIT}, {**sides.client, "max_message_bytes": LIMIT}


def test_message_of_exactly_the_limit_passes_and_one_of_more_is_refused(
    limited: tuple[dict[str, Any], dict[str, Any]], opened: Open
) -> None:
    server, client = (opened(config) for config in limited)
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    with pytest.raises(mb.InvalidMessage, match=r"blob 0: .* 200000 bytes \(max_message_bytes .*, got 200001"):
        publisher.publish(({"n": 0}, bytes(LIMIT + 1)))
    publisher.publish(bytes(LIMIT))
    assert subscriber.recv(5000).blob == bytes(LIMIT)
    assert (publisher.stats.sent, subscriber.stats.reconnects) == (1, 0)


def test_request_and_reply_have_the_limit_too(limited: tuple[dict[str, Any], dict[str, Any]], opened: Open) -> None:
    server, client = (opened(config) for config in limited)
    service, requester = server.new_service("echo"), client.get_service("echo")
    with pytest.raises(mb.InvalidMessage, match="blob 0: expected at most 200000 bytes"):
        requester.request(bytes(LIMIT + 1))
    requester.request(bytes(LIMIT))
    assert service.recv(5000).blob == bytes(LIMIT)
    with pytest.raises(mb.InvalidMessage, match="metadata: expected at most 200000 bytes"):
        service.response({"text": "x" * LIMIT})
    service.response(({"n": 1}, bytes(LIMIT)))  # the request can still be answered
    assert requester.recv(5000) == ({"n": 1}, bytes(LIMIT))


def test_limit_below_that_of_copies_is_kept(plain_sides: Sides, opened: Open) -> None:
    publisher = opened({**plain_sides.server, "max_message_bytes": 1000}).new_publisher("camera1")
    with pytest.raises(mb.InvalidMessage, match=r"metadata: expected at most 1000 bytes .*, got 1011"):
        publisher.publish({"text": "x" * 1000})
    publisher.publish({"text": "x" * 900})


def test_topic_that_is_longer_than_publishers_take_is_refused(plain_sides: Sides, opened: Open) -> None:
    bus = opened({**plain_sides.client, "x" * 513: {"socket_file": "x", "host": "127.0.0.1", "port": 1}})
    with pytest.raises(mb.InvalidMessage, match="name: expected at most 512 bytes"):
        bus.new_subscriber("x" * 513)


def test_subscriber_recovers_when_a_publisher_sent_too_much(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = raw(zmq.XPUB, bind=plain_sides.publisher)
    subscriber = opened({**plain_sides.client, "max_message_bytes": LIMIT}).new_subscriber("camera1")
    while publisher.recv() != b"\1camera1":
        pass
    publisher.send_multipart([b"camera1\0", b"\1", b"\1", bytes(LIMIT + 5000)])
    for expected in (b"\0camera1", b"\1camera1"):  # it was cut, and is back
        while publisher.recv() != expected:
            pass
    publisher.send_multipart(GOOD)
    assert subscriber.recv(5000).meta_data == {"n": 1}
    until(lambda: subscriber.stats.reconnects == 1)


def test_service_serves_others_when_a_client_sent_too_much(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    service = opened({**plain_sides.server, "max_message_bytes": LIMIT}).new_service("echo")
    raw(zmq.REQ, connect=plain_sides.service).send(bytes(LIMIT + 5000))
    good = opened(plain_sides.client).get_service("echo")
    with running(lambda: service.response(service.recv(5000))):
        assert good.request({"n": 1}, timeout=5000).meta_data == {"n": 1}


def test_requester_recovers_when_its_reply_was_too_large(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    service = raw(zmq.REP, bind=plain_sides.service)
    requester = opened({**plain_sides.client, "max_message_bytes": LIMIT}).get_service("echo")
    requester.request({"n": 1})
    service.recv_multipart()
    service.send(bytes(LIMIT + 5000))
    with pytest.raises(mb.Disconnected):
        requester.recv(5000)
    with running(lambda: service.send_multipart(service.recv_multipart())):
        assert requester.request({"n": 2}, timeout=5000).meta_data == {"n": 2}
    until(lambda: requester.stats.received == 1)
