"""Access control fails closed: when its handler is dead, broken, closed or never ran, nobody gets in."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus.transports.zmq.access import AccessControl
from eis.msgbus.transports.zmq.door import Door
from eis.msgbus.transports.zmq.link import Link
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import Sides, ipc_sides


@pytest.fixture
def sides(make_sides: Callable[[str], Sides]) -> Sides:
    return make_sides("allow")


def deliveries(sides: Sides, opened: Open, break_it: Callable[[AccessControl], None] | None = None) -> int:
    """Count what a client gets in a while in which a subscriber of a sound server gets hundreds of messages."""
    publisher = opened(sides.server).new_publisher("camera1")
    if break_it is not None:
        break_it(publisher._channel._socket.link._runtime.access)  # type: ignore[attr-defined]
    subscriber = opened(sides.client).new_subscriber("camera1")
    for _ in range(100):
        try:
            publisher.publish({"n": 1})
            subscriber.recv(5)
        except (mb.ReceiveTimeout, mb.MessageBusError, mb.MessageBusAuthenticationFailed):
            continue
        return subscriber.stats.received
    return subscriber.stats.received


def test_listed_client_gets_in_when_nothing_is_broken(sides: Sides, opened: Open) -> None:
    assert deliveries(sides, opened) == 1


def test_nobody_gets_in_when_the_handler_has_ended(sides: Sides, opened: Open) -> None:
    assert deliveries(sides, opened, AccessControl.close) == 0


@pytest.mark.skipif(os.name == "nt", reason="users of Unix")
def test_no_user_gets_in_at_a_socket_file_when_the_handler_has_ended(socket_dir: Path, opened: Open) -> None:
    served = []
    for name, break_it in (("sound", None), ("broken", AccessControl.close)):
        (socket_dir / name).mkdir(mode=0o700)
        config = {**ipc_sides(socket_dir / name).server, "camera1": {"allowed_users": [os.geteuid()]}}
        served.append(deliveries(Sides(config, config, "", ""), opened, break_it))
    assert served == [1, 0]


def test_nobody_gets_in_when_the_handlers_thread_has_died(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: AccessControl, handler: "zmq.Socket[bytes]") -> None:
        self._stopped = True
        handler.close()

    def let_it_die(access: AccessControl) -> None:
        monkeypatch.setattr(AccessControl, "_answer", die)
        assert access._thread is not None
        access._thread.join(10)  # it dies of the next question, the watchdog's

    assert deliveries(sides, opened, let_it_die) == 0


def test_nobody_gets_in_when_the_handler_raises(sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> tuple[bytes, bytes]:
        raise RuntimeError("broken")

    assert deliveries(sides, opened, lambda _: monkeypatch.setattr(AccessControl, "_decide", broken)) == 0


def test_opening_fails_when_the_handler_never_ran(sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AccessControl, "admit", lambda *_: Door("nowhere"))
    monkeypatch.setattr(AccessControl, "restart", lambda _: None)
    with pytest.raises(mb.MessageBusError, match="does not refuse strangers"):
        opened(sides.server).new_publisher("camera1")


def test_nobody_gets_in_when_the_list_is_empty(sides: Sides, opened: Open) -> None:
    sides.server["allowed_clients"] = []
    assert deliveries(sides, opened) == 0


def test_opening_fails_when_the_library_cannot_enforce_a_list(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.transports.zmq.link.zmq.ZAP_ENFORCE_DOMAIN", zmq.ZAP_DOMAIN + 0, raising=True)
    monkeypatch.setattr(zmq.Socket, "set", _set_without_enforcing)
    with pytest.raises(mb.MessageBusError, match="cannot enforce an allow-list"):
        opened(sides.server).new_publisher("camera1")


_real_set = zmq.Socket.set


def _set_without_enforcing(self: "zmq.Socket[bytes]", option: int, value: int | bytes) -> None:
    if not (option == zmq.ZAP_DOMAIN and value == 1):
        _real_set(self, option, value)


def test_every_link_has_a_domain_of_its_own(sides: Sides, opened: Open) -> None:
    server = opened(sides.server)
    publisher, service = server.new_publisher("camera1"), server.new_service("echo")
    links: list[Link] = [publisher._channel._socket.link, service._channel.link]  # type: ignore[attr-defined]
    domains = {link.socket.get(zmq.ZAP_DOMAIN) for link in links}
    assert len(domains) == 2
    assert b"" not in domains
    assert [link.socket.get(zmq.ZAP_ENFORCE_DOMAIN) for link in links] == [1, 1]
