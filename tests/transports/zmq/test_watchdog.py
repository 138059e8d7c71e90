"""When the access control fails, what it guards stops to serve within 2 s; when it is back, so are the clients."""

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus.transports.zmq import watchdog
from eis.msgbus.transports.zmq.access import AccessControl
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.publisher import PublisherSocket
from eis.msgbus.transports.zmq.runtime import Runtime
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import STRANGER, Sides, client_keys, running, until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # threads are killed

PROMISED = 2.0  # seconds
SILENT = "access control does not answer"


@pytest.fixture
def sides(make_sides: Callable[[str], Sides]) -> Sides:
    return make_sides("allow")


class Bus:
    """Be a publisher and a service with a list, a client of both, and a way to break the access control."""

    def __init__(self, sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sides, self.opened, self.monkeypatch = sides, opened, monkeypatch
        server, client = opened(sides.server), opened(sides.client)
        self.publisher, self.service = server.new_publisher("camera1"), server.new_service("echo")
        self.subscriber, self.requester = client.new_subscriber("camera1"), client.get_service("echo")
        self.publisher.wait_for_subscribers(1, 5000)
        self.link: Link = self.publisher._channel._socket.link  # type: ignore[attr-defined]
        self.runtime: Runtime = self.link._runtime
        self.access: AccessControl = self.runtime.access
        self.free = threading.Event()

    def publish(self, number: int) -> None:
        self.publisher.publish({"n": number})

    def stick(self, *_: object) -> None:
        self.free.wait(30)

    def publishing_fails(self) -> bool:
        try:
            self.publish(-1)
        except mb.MessageBusError as error:
            return SILENT in str(error)
        return False

    def works(self) -> bool:
        """Tell whether a message arrives."""
        try:
            self.publish(1)
            return bool(self.subscriber.recv(10).meta_data == {"n": 1})
        except mb.MsgbusException:
            return False


@pytest.fixture
def bus(sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    bus = Bus(sides, opened, monkeypatch)
    yield bus
    bus.free.set()


def end(bus: Bus) -> None:
    bus.access.close()


def kill(bus: Bus) -> None:
    def die(access: AccessControl, handler: "zmq.Socket[bytes]") -> None:  # noqa: ARG001
        raise SystemExit

    bus.monkeypatch.setattr(AccessControl, "_answer", die)


def stick(bus: Bus) -> None:
    bus.monkeypatch.setattr(bus.access, "_answer", bus.stick)


def raise_in_every_answer(bus: Bus) -> None:
    bus.monkeypatch.setattr(AccessControl, "_judge", lambda *_: 1 / 0)


def judge_with_an_error(bus: Bus) -> None:
    bus.monkeypatch.setattr(AccessControl, "_decide", lambda *_: 1 / 0)


def answer_malformed(bus: Bus) -> None:
    bus.monkeypatch.setattr(AccessControl, "_judge", lambda *_: ((b"20", b"OK", b""), lambda: None))


def let_everybody_in(bus: Bus) -> None:
    bus.monkeypatch.setattr(AccessControl, "_judge", lambda *_: ((b"200", b"OK", b"anybody"), lambda: None))


FAILURES = (
    end, kill, stick, raise_in_every_answer, judge_with_an_error, answer_malformed,
    let_everybody_in,
)  # fmt: skip


@pytest.mark.parametrize("break_it", FAILURES)
def test_everything_guarded_stops_within_two_seconds_when_access_control_fails(
    bus: Bus, break_it: Callable[[Bus], None], caplog: pytest.LogCaptureFixture
) -> None:
    break_it(bus)
    began = time.monotonic()
    until(bus.publishing_fails)
    assert time.monotonic() - began < PROMISED
    for call in (lambda: bus.service.recv(1000), lambda: bus.publisher.wait_for_subscribers(1, 1000)):
        with pytest.raises(mb.MessageBusError, match=SILENT):
            call()
    assert bus.publisher.status.state == bus.service.status.state == "failed"
    until(lambda: [record for record in caplog.records if record.levelno == logging.CRITICAL])
    [stopped] = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert str(bus.sides.server["echo"]["port"]) in stopped


@pytest.mark.parametrize("break_it", FAILURES[:-1])
def test_nobody_unlisted_gets_anything_when_access_control_fails(bus: Bus, break_it: Callable[[Bus], None]) -> None:
    config = {**bus.sides.client, "camera1": {**bus.sides.client["camera1"], **client_keys(STRANGER)}}
    break_it(bus)
    stranger = bus.opened(config).new_subscriber("camera1")
    for _ in range(40):
        bus.publishing_fails()
        try:
            stranger.recv(50)
        except (mb.ReceiveTimeout, mb.MessageBusAuthenticationFailed):
            continue
    assert stranger.stats.received == 0


@pytest.mark.parametrize("break_it", [end, stick])
def test_connections_are_cut_when_access_control_fails(bus: Bus, break_it: Callable[[Bus], None]) -> None:
    socket: PublisherSocket = bus.publisher._channel._socket  # type: ignore[attr-defined]
    break_it(bus)
    until(bus.publishing_fails)

    def left() -> bool:
        with socket.lock:
            socket.read_subscriptions()
            return not socket.topic(b"camera1\0").subscribers

    until(left)
    if break_it is end:  # a thread that is stuck keeps the connection open; nothing comes over it any more
        until(lambda: bus.subscriber.status.state == "reconnecting")


def test_clients_are_back_within_two_seconds_when_the_thread_is_back(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    assert bus.works()
    stick(bus)
    until(bus.publishing_fails)
    bus.monkeypatch.undo()
    bus.free.set()
    began = time.monotonic()
    until(bus.works)
    assert time.monotonic() - began < PROMISED
    assert "access control answers again" in caplog.text
    with running(lambda: bus.service.response(bus.service.recv(10000))):
        bus.requester.request({"n": 2}, timeout=10000)
    assert bus.publisher.status.state == bus.service.status.state == "listening"


def test_dead_thread_is_replaced_and_clients_are_back_within_two_seconds(bus: Bus) -> None:
    dead = bus.access._thread
    kill(bus)
    until(bus.publishing_fails)
    bus.monkeypatch.undo()
    began = time.monotonic()
    until(bus.works)
    assert time.monotonic() - began < PROMISED
    assert bus.access._thread is not dead


@pytest.mark.parametrize("break_it", FAILURES[3:-1])
def test_clients_are_back_when_answers_were_lost_or_wrong_for_a_while(
    bus: Bus, break_it: Callable[[Bus], None]
) -> None:
    break_it(bus)
    until(bus.publishing_fails)
    bus.monkeypatch.undo()
    began = time.monotonic()
    until(bus.works)
    assert time.monotonic() - began < 2 * PROMISED


def test_port_that_was_taken_meanwhile_is_told_and_taken_back_when_it_is_free(bus: Bus) -> None:
    stick(bus)
    until(bus.publishing_fails)
    with zmq.Context() as context, context.socket(zmq.PULL) as thief:
        thief.bind(bus.sides.publisher)
        bus.monkeypatch.undo()
        bus.free.set()
        until(lambda: "cannot listen at" in bus.publisher.status.reason)
        with pytest.raises(mb.MessageBusError, match="cannot listen at"):
            bus.publish(1)
    until(bus.works)


def test_nothing_is_asked_when_nothing_is_guarded(make_sides: Callable[[str], Sides], opened: Open) -> None:
    publisher = opened(make_sides("curve").server).new_publisher("camera1")
    supervisor = publisher._channel._socket.link._runtime.supervisor  # type: ignore[attr-defined]
    assert supervisor._watchdog.next is None


def test_nothing_is_asked_any_more_when_the_last_guarded_link_is_closed(bus: Bus) -> None:
    dog = bus.runtime.supervisor._watchdog
    assert dog.next is not None
    bus.publisher.close()
    bus.service.close()
    until(lambda: dog.next is None)


def test_stopped_link_that_is_closed_stays_closed(bus: Bus) -> None:
    stick(bus)
    until(bus.publishing_fails)
    bus.publisher.close()
    bus.free.set()
    bus.link.resume()
    assert bus.link.socket.closed


def test_error_of_the_watchdog_is_logged_and_it_goes_on(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(watchdog.Watchdog, "_look", lambda *_: 1 / 0)
        until(lambda: "cannot watch the access control" in caplog.text)
    stick(bus)
    until(bus.publishing_fails)


def nobody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(str(path)) == errno.ECONNREFUSED


def test_socket_file_with_a_list_stops_and_comes_back_too(
    make_sides: Callable[[str], Sides], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = make_sides("ipc")
    sides.server[""]["allowed_users"] = [os.getuid()]
    bus = Bus(sides, opened, monkeypatch)
    path = Path(sides.publisher.removeprefix("ipc://"))
    stick(bus)
    until(bus.publishing_fails)
    until(lambda: nobody_listens(path))
    monkeypatch.undo()
    bus.free.set()
    until(bus.works)
    assert path.is_socket()
