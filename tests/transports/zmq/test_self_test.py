"""A guarded port that does not refuse a stranger is not served."""

import logging
from collections.abc import Callable

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus.transports.zmq import self_test
from eis.msgbus.transports.zmq.access import AccessControl
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import SERVER, Sides, tcp_sides, until


@pytest.fixture
def sides(make_sides: Callable[[str], Sides]) -> Sides:
    return make_sides("allow")


def test_self_test_is_neither_counted_nor_logged(sides: Sides, opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server, client = opened(sides.server), opened(sides.client)
    publisher, service = server.new_publisher("camera1"), server.new_service("echo")
    subscriber = client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)  # whatever the self-test left to be read has been read before
    assert [each.stats.refused for each in (publisher, service, subscriber)] == [0, 0, 0]
    assert list(publisher.stats.clients.values()) == [1]
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("reply", [b"200", b"300", b"500", b"20"])
def test_nothing_is_served_when_access_control_answers_anything_else(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch, reply: bytes
) -> None:
    monkeypatch.setattr(AccessControl, "_judge", lambda *_: ((reply, b"", b""), lambda: None))
    for open_it in (
        lambda: opened(sides.server).new_publisher("camera1"),
        lambda: opened(sides.server).new_service("echo"),
    ):
        with pytest.raises(mb.MessageBusError, match="does not refuse strangers: expected ZAP status 400, got"):
            open_it()
    assert_free(sides)


def test_nothing_is_served_when_access_control_does_not_answer(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "_PATIENCE", 300)
    monkeypatch.setattr(AccessControl, "_answer", lambda _, handler: handler.recv_multipart())
    with pytest.raises(mb.MessageBusError, match="got nothing within 300 ms"):
        opened(sides.server).new_publisher("camera1")
    assert_free(sides)


def test_nothing_is_served_when_nobody_asks_the_access_control(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_domain(self: "zmq.Socket[bytes]", option: int, value: int | bytes) -> None:
        if option != zmq.ZAP_DOMAIN:  # libzmq then asks nobody, even where it is told to enforce
            real_set(self, option, value)

    real_set = zmq.Socket.set
    monkeypatch.setattr(zmq.Socket, "set", without_domain)
    with pytest.raises(mb.MessageBusError, match="got HANDSHAKE_SUCCEEDED"):
        opened(sides.server).new_publisher("camera1")
    assert_free(sides)


def assert_free(sides: Sides) -> None:
    until(lambda: is_free(sides.publisher))


def is_free(address: str) -> bool:
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        try:
            socket.bind(address)
        except zmq.ZMQError:
            return False
        return True


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "localhost", "::1", "::"])
def test_self_test_reaches_every_address(free_ports: Callable[[int], list[int]], opened: Open, host: str) -> None:
    sides = tcp_sides(free_ports(2), "allow", host)
    assert opened(sides.server).new_publisher("camera1").stats.refused == 0


def test_error_names_no_secret(sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AccessControl, "_judge", lambda *_: ((b"200", b"", b""), lambda: None))
    with pytest.raises(mb.MessageBusError) as caught:
        opened(sides.server).new_publisher("camera1")
    assert SERVER.secret not in str(caught.value)


def test_port_that_the_watchdog_stopped_meanwhile_is_not_tried(sides: Sides, opened: Open) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    link = publisher._channel._socket.link  # type: ignore[attr-defined]
    link.listening.endpoint, endpoint = "", link.listening.endpoint
    link.stopped = "access control does not answer"
    with pytest.raises(mb.MessageBusError, match="access control does not answer"):
        link._knock()
    link.listening.endpoint, link.stopped = endpoint, ""
