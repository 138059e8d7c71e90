"""Other keys, names and lists for a running program: who is cut and when, who goes on, and what cannot change."""

import contextlib
import errno
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import aio, keys
from eis.msgbus.exceptions import InvalidConfig, MessageBusError
from eis.msgbus.transports.zmq.guard import Guard
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.transport import TcpTransport
from eis.msgbus.transports.zmq.watch import Watch
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import BECOME, CLIENT, SERVER, STRANGER, Sides, client_keys, running, until

OTHER, NEW_SERVER = keys.new_key_pair(), keys.new_key_pair()
NAMED = {"viewer": CLIENT.public, "logger": OTHER.public}
CUT, BACK = 1.0, 0.5  # seconds that are promised


@pytest.fixture
def sides(make_sides: Callable[[str], Sides]) -> Sides:
    """A server that knows two clients by name, and lets both in; the client is `viewer`."""
    sides = make_sides("curve")
    sides.server.update(clients=NAMED, allowed_clients=["viewer", "logger"])
    return sides


def changed(config: dict[str, Any], name: str = "", **values: Any) -> dict[str, Any]:
    """Return a configuration with other values, at the top or in an entry."""
    return {**config, name: {**config[name], **values}} if name else {**config, **values}


def as_logger(sides: Sides) -> dict[str, Any]:
    """Return the configuration of the other client."""
    return {
        name: {**entry, **client_keys(OTHER)} if isinstance(entry, dict) else entry
        for name, entry in sides.client.items()
    }


class Reader:
    """Read a subscriber in a thread, and remember when which number came."""

    def __init__(self, subscriber: mb.Subscriber[Any]) -> None:
        self.subscriber = subscriber
        self.came: list[tuple[float, int]] = []
        self.refused = 0

    def read(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                number = self.subscriber.recv(50).meta_data["n"]
                self.came.append((time.monotonic(), number))
            except mb.ReceiveTimeout:
                continue
            except mb.MessageBusAuthenticationFailed:
                self.refused += 1

    def since(self, moment: float) -> list[float]:
        """Return when messages came, in seconds after the moment."""
        return [at - moment for at, _ in tuple(self.came) if at > moment]

    def gap(self, moment: float) -> float:
        """Return the longest time without a message since just before the moment."""
        times = [at for at, _ in tuple(self.came)]
        later = [max(times, key=lambda at: (at <= moment, at)), *(at for at in times if at > moment)]
        return max(after - before for before, after in itertools.pairwise(later))

    def in_order(self) -> bool:
        numbers = [number for _, number in self.came]
        return numbers == sorted(set(numbers))


def answer(service: mb.Service, count: int) -> None:
    for _ in range(count):
        service.response(service.recv(10000))


@pytest.fixture
def tell() -> Callable[[str], object]:
    """`tell(figure)`: show it where pytest is called with -s or -rP."""
    return sys.stdout.write


@contextmanager
def streaming(publisher: mb.Publisher, *readers: Reader) -> Iterator[None]:
    """Publish a number each millisecond, and read, until the end of the block."""
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.wait(0.001):
            publisher.publish({"n": number})
            number += 1

    publisher.wait_for_subscribers(len(readers), 5000)
    with running(publish):
        threads = [running(lambda reader=reader: reader.read(stop)) for reader in readers]  # type: ignore[misc]  # mypy knows no default of a lambda
        for thread in threads:
            thread.__enter__()
        try:
            until(lambda: all(reader.came for reader in readers))
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.__exit__(None, None, None)


def test_removed_client_is_cut_and_the_others_go_on(sides: Sides, opened: Open, tell: Callable[[str], object]) -> None:
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    stays = Reader(opened(sides.client).new_subscriber("camera1"))
    goes = Reader(opened(as_logger(sides)).new_subscriber("camera1"))
    with streaming(publisher, stays, goes):
        moment = time.monotonic()
        bus.reload(changed(sides.server, allowed_clients=["viewer"]))
        until(lambda: goes.refused)
        until(lambda: publisher.stats.clients["viewer"] == 2 and stays.since(moment + CUT))
    cut, gap = max(goes.since(moment), default=0.0), stays.gap(moment)
    tell(f"cut after {cut * 1000:.1f} ms, the other one went on after {gap * 1000:.0f} ms")
    assert cut < CUT
    assert gap < BACK
    assert stays.in_order()
    assert publisher.status.state == "listening"


def test_removed_client_is_cut_when_nothing_is_published(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    goes, stays = opened(as_logger(sides)).new_subscriber("camera1"), opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(2, 5000)
    bus.reload(changed(sides.server, allowed_clients=["viewer"]))
    until(lambda: goes.status.state == "denied", CUT)
    until(lambda: (stays.status.state, stays.stats.reconnects) == ("connected", 1))
    until(lambda: publisher._enough(1))
    assert not publisher._enough(2)


def test_removed_client_gets_no_reply_and_the_others_do(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    service = bus.new_service("echo")
    goes, stays = opened(as_logger(sides)).get_service("echo"), opened(sides.client).get_service("echo")
    with running(lambda: answer(service, 3)):
        assert goes.request({"n": 1}, 5000).meta_data == stays.request({"n": 1}, 5000).meta_data
        bus.reload(changed(sides.server, allowed_clients=["viewer"]))
        until(lambda: goes.status.state in ("denied", "reconnecting"), CUT)
        with pytest.raises(mb.MessageBusAuthenticationFailed):
            goes.request({"n": 2}, 5000)
        until(lambda: stays.status.state == "connected")
        assert stays.request({"n": 3}, 5000).meta_data == {"n": 3}
    assert service.stats.received == 3


def test_added_client_gets_in_and_nobody_is_cut(sides: Sides, opened: Open) -> None:
    bus = opened(changed(sides.server, allowed_clients=["viewer"]))
    publisher = bus.new_publisher("camera1")
    viewer, late = opened(sides.client).new_subscriber("camera1"), opened(as_logger(sides)).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    until(lambda: late.status.state == "denied")
    bus.reload(sides.server)
    publisher.wait_for_subscribers(2, 5000)
    assert publisher.stats.clients == {"viewer": 1, "logger": 1}
    assert viewer.stats.reconnects == 0


def test_client_is_known_by_its_new_name(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    renamed = {"screen": CLIENT.public, "logger": OTHER.public}
    bus.reload(changed(sides.server, clients=renamed, allowed_clients=["screen"]))
    until(lambda: publisher.stats.clients == {"viewer": 1, "screen": 1})
    until(lambda: subscriber.stats.reconnects == 1)


def test_list_is_begun_while_the_program_runs(make_sides: Callable[[str], Sides], opened: Open) -> None:
    sides = make_sides("curve")
    bus, other = opened(sides.server), opened(as_logger(sides))
    publisher = bus.new_publisher("camera1")
    viewer, stranger = opened(sides.client).new_subscriber("camera1"), other.new_subscriber("camera1")
    publisher.wait_for_subscribers(2, 5000)
    bus.reload(changed(sides.server, allowed_clients=[CLIENT.public]))
    until(lambda: stranger.status.state == "denied", CUT)
    until(lambda: viewer.status.state == "connected")
    assert publisher.stats.clients == {CLIENT.public: 1}


def test_list_is_not_ended_while_the_program_runs(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher, service = bus.new_publisher("camera1"), bus.new_service("echo")
    without = {key: value for key, value in sides.server.items() if key not in ("clients", "allowed_clients")}
    with pytest.raises(InvalidConfig) as caught:
        bus.reload(without)
    assert str(caught.value) == (
        "config camera1: expected a list of who gets in, as before, got none: open a new context to let everybody in"
    )
    publisher.close()
    with pytest.raises(InvalidConfig, match="config echo: expected a list of who gets in"):
        bus.reload(without)
    service.close()
    bus.reload(without)


def test_topics_are_those_of_the_new_lists(sides: Sides, opened: Open) -> None:
    lists = {"camera1": ["viewer", "logger"], "camera10": ["logger"]}
    first = changed(sides.server, "zmq_tcp_publish", topics=lists)
    bus, viewer = opened(first), opened(sides.client)
    publisher, other = bus.new_publisher("camera1"), bus.new_publisher("other")
    has, wants = viewer.new_subscriber("camera1"), viewer.new_subscriber("other")
    until(lambda: publisher._enough(0) and publisher.stats.refused >= 2)
    bus.reload(changed(sides.server, "zmq_tcp_publish", topics={"camera1": ["viewer"], "other": ["viewer"]}))
    for each in (publisher, other):
        each.wait_for_subscribers(1, 5000)
        each.publish({"from": each.name})
    assert (has.recv(5000).meta_data, wants.recv(5000).meta_data) == ({"from": "camera1"}, {"from": "other"})
    bus.reload(changed(sides.server, "zmq_tcp_publish", topics={"camera1": ["logger"], "other": ["viewer"]}))
    until(lambda: publisher._enough(0) and not publisher._enough(1))
    with pytest.raises(InvalidConfig, match=r"zmq_tcp_publish\.topics: cannot be begun or ended while a publisher is"):
        bus.reload(sides.server)


def test_endpoint_whose_list_did_not_change_is_not_touched(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher, service = bus.new_publisher("camera1"), bus.new_service("echo")
    subscriber, requester = opened(sides.client).new_subscriber("camera1"), opened(sides.client).get_service("echo")
    publisher.wait_for_subscribers(1, 5000)
    until(lambda: requester.status.state == "connected")
    bus.reload(changed(sides.server, "echo", allowed_clients=["logger"]))
    until(lambda: requester.status.state == "denied", CUT)
    assert (subscriber.status.state, subscriber.stats.reconnects) == ("connected", 0)
    assert (publisher.status.state, service.status.state) == ("listening", "listening")


def test_endpoints_that_are_opened_later_use_what_was_reloaded(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    bus.reload(changed(sides.server, allowed_clients=["logger"]))
    publisher = bus.new_publisher("camera1")
    refused, listed = opened(sides.client), opened(as_logger(sides))
    subscriber = listed.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    with pytest.raises(mb.MessageBusAuthenticationFailed):
        refused.new_subscriber("camera1").recv(5000)
    assert subscriber.status.state == "connected"


# Keys.


def test_key_of_a_server_is_rotated_with_an_overlap(sides: Sides, opened: Open, tell: Callable[[str], object]) -> None:
    bus, viewer = opened(sides.server), opened(sides.client)
    publisher, service = bus.new_publisher("camera1"), bus.new_service("echo")
    reader, requester = Reader(viewer.new_subscriber("camera1")), viewer.get_service("echo")
    both, new = (
        {
            name: {**entry, "server_public_key": value} if isinstance(entry, dict) else entry
            for name, entry in sides.client.items()
        }
        for value in ([SERVER.public, NEW_SERVER.public], NEW_SERVER.public)
    )
    rotated = {
        name: {**entry, "server_secret_key": NEW_SERVER.secret} if name in ("echo", "zmq_tcp_publish") else entry
        for name, entry in sides.server.items()
    }
    with streaming(publisher, reader), running(lambda: answer(service, 3)):
        assert requester.request({"n": 1}, 5000).meta_data == {"n": 1}
        viewer.reload(both)
        assert requester.request({"n": 2}, 5000).meta_data == {"n": 2}
        assert reader.subscriber.stats.reconnects == requester.stats.reconnects == 0
        moment = time.monotonic()
        bus.reload(rotated)
        until(lambda: reader.subscriber.stats.reconnects == 1 and reader.since(moment + 1))
        until(lambda: requester.status.state == "connected" and requester.stats.reconnects == 1)
        gap = reader.gap(moment)
        viewer.reload(new)
        assert requester.request({"n": 3}, 5000).meta_data == {"n": 3}
        seen = len(reader.came)
        until(lambda: len(reader.came) > seen + 100)
    tell(f"the client came back after {gap * 1000:.0f} ms")
    assert gap < 2.0
    assert (reader.refused, reader.subscriber.stats.refused, requester.stats.refused) == (0, 0, 0)
    assert reader.subscriber.stats.reconnects == requester.stats.reconnects == 1
    assert reader.in_order()


def test_key_of_a_server_without_a_list_is_rotated(make_sides: Callable[[str], Sides], opened: Open) -> None:
    sides = make_sides("curve")
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    both = [SERVER.public, NEW_SERVER.public]
    subscriber = opened(changed(sides.client, "camera1", server_public_key=both)).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    bus.reload(changed(sides.server, "zmq_tcp_publish", server_secret_key=NEW_SERVER.secret))
    until(lambda: (subscriber.status.state, subscriber.stats.reconnects) == ("connected", 1))
    assert subscriber.stats.refused == 0


def test_old_key_of_a_server_is_worth_nothing_after_the_reload(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    bus.reload(changed(sides.server, "zmq_tcp_publish", server_secret_key=NEW_SERVER.secret))
    with pytest.raises(mb.MessageBusAuthenticationFailed, match="server_public_key is another server's"):
        subscriber.recv(10000)


def test_wrong_keys_of_a_server_are_a_refusal_when_all_were_tried(sides: Sides, opened: Open) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    wrong = [NEW_SERVER.public, OTHER.public]
    subscriber = opened(changed(sides.client, "camera1", server_public_key=wrong)).new_subscriber("camera1")
    with pytest.raises(mb.MessageBusAuthenticationFailed, match="server_public_key is another server's"):
        subscriber.recv(10000)
    until(lambda: publisher.stats.refused >= 6)  # the publisher may notice the last one a moment later


def test_client_goes_on_with_its_new_keys(sides: Sides, opened: Open) -> None:
    bus, viewer = opened(sides.server), opened(sides.client)
    publisher = bus.new_publisher("camera1")
    subscriber = viewer.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    until(lambda: subscriber.status.state == "connected")
    viewer.reload(changed(sides.client, "camera1", **client_keys(OTHER)))
    until(lambda: publisher.stats.clients == {"viewer": 1, "logger": 1})
    until(lambda: (subscriber.status.state, subscriber.stats.reconnects) == ("connected", 1))
    until(lambda: publisher._enough(1))
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_client_that_was_refused_gets_in_with_its_new_keys_at_once(sides: Sides, opened: Open) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    viewer = opened(changed(sides.client, "camera1", **client_keys(STRANGER)))
    subscriber = viewer.new_subscriber("camera1")
    until(lambda: subscriber.stats.refused >= 2)
    viewer.reload(sides.client)
    publisher.wait_for_subscribers(1, 5000)
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)


def test_request_that_waits_for_its_reply_is_given_up_when_the_keys_change(sides: Sides, opened: Open) -> None:
    service, viewer = opened(sides.server).new_service("echo"), opened(sides.client)
    requester = viewer.get_service("echo")
    requester.request({"n": 1})
    assert service.recv(5000).meta_data == {"n": 1}
    until(lambda: requester.status.state == "connected")
    viewer.reload(changed(sides.client, "echo", **client_keys(OTHER)))
    with pytest.raises(mb.Disconnected):
        requester.recv(5000)
    with running(lambda: service.response(service.recv(5000))):
        assert requester.request({"n": 2}, 5000).meta_data == {"n": 2}
    assert set(service.stats.clients) == {"viewer", "logger"}


# All or nothing.


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("", {"zmq_recv_hwm": 5}, "zmq_recv_hwm: expected nothing as before, got 5: open a new context for anything"),
        ("", {"require_encryption": True}, "require_encryption: expected False as before, got True: open a new"),
        ("", {"camera2": {"host": "h", "port": 1}}, "camera2.host: expected nothing as before, got 'h': open a new"),
        ("echo", {"port": 1}, "echo.port: expected "),
        ("echo", {"server_secret_key": "x"}, "echo.server_secret_key: expected a key of 40 characters in Z85"),
        ("echo", {"allowed_clients": ["nobody"]}, "echo.allowed_clients[0]: expected a key or one of the names"),
        ("zmq_tcp_publish", {"host": "::1"}, "zmq_tcp_publish.host: expected '127.0.0.1' as before, got '::1'"),
        ("zmq_tcp_publish", {"brokered": True}, "zmq_tcp_publish.brokered: expected nothing as before, got True"),
        ("", {"type": "zmq_ipc"}, "type: expected 'zmq_tcp' as before, got 'zmq_ipc'"),
    ],
)
def test_nothing_is_changed_when_anything_cannot_change(
    sides: Sides, opened: Open, name: str, values: dict[str, Any], text: str
) -> None:
    bus = opened(sides.server)
    publisher, service = bus.new_publisher("camera1"), bus.new_service("echo")
    viewer, logger = opened(sides.client), opened(as_logger(sides))
    subscriber, requester = viewer.new_subscriber("camera1"), logger.get_service("echo")
    publisher.wait_for_subscribers(1, 5000)
    until(lambda: requester.status.state == "connected")
    nobody = changed(sides.server, allowed_clients=[])
    with pytest.raises(InvalidConfig) as caught:
        bus.reload(changed(nobody, name, **values))
    assert str(caught.value).startswith(f"config {text}")
    late = logger.new_subscriber("camera1")
    publisher.wait_for_subscribers(2, 5000)
    until(lambda: late.status.state == "connected")
    assert (subscriber.stats.reconnects, requester.stats.reconnects) == (0, 0)
    assert (publisher.stats.refused, service.stats.refused) == (0, 0)


@pytest.mark.parametrize("key", ["server_public_key", "server_secret_key"])
def test_encryption_is_not_switched_by_a_reload(sides: Sides, opened: Open, key: str) -> None:
    name, config = ("echo", sides.server) if key == "server_secret_key" else ("camera1", sides.client)
    bus = opened(config)
    with pytest.raises(InvalidConfig) as caught:
        bus.reload({**config, name: {which: value for which, value in config[name].items() if which != key}})
    assert str(caught.value) == (
        f"config {name}.{key}: encryption cannot be switched on or off while the program runs: open a new context"
    )


def test_reload_is_refused_when_the_context_is_closed(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    bus.close()
    with pytest.raises(MessageBusError, match="this context is closed"):
        bus.reload(sides.server)


def test_link_that_was_cut_or_closed_meanwhile_stays_so(sides: Sides, opened: Open) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    link = publisher._channel._socket.link  # type: ignore[attr-defined]
    with link.lock:
        link.cut()
        link.cut()
    until(lambda: link.listening.endpoint)
    publisher.close()
    link.reload(link.plan)
    assert not link.listening.endpoint or link.socket.closed


def test_closed_endpoints_are_left_alone(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    for endpoint in (bus.new_publisher("camera1"), bus.new_service("echo")):
        endpoint.close()
    bus.reload(changed(sides.server, allowed_clients=[]))
    service = bus.new_service("echo")
    with pytest.raises(mb.MessageBusAuthenticationFailed):
        opened(sides.client).get_service("echo").request({}, 5000)
    assert service.stats.received == 0


# While others use it.


def test_reload_disturbs_no_publisher_in_another_thread(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    reader = Reader(opened(sides.client).new_subscriber("camera1"))
    lists = (["viewer"], ["viewer", "logger"])
    with streaming(publisher, reader):
        for turn in range(8):
            bus.reload(changed(sides.server, allowed_clients=lists[turn % 2]))
            seen = len(reader.came)
            until(lambda seen=seen: len(reader.came) > seen + 50)  # type: ignore[misc]  # as above
    assert reader.in_order()
    assert reader.refused == 0
    assert reader.subscriber.stats.reconnects == 4


def test_reload_in_a_signal_handler_interrupts_nothing(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    before = signal.signal(signal.SIGUSR1, lambda *_: bus.reload(changed(sides.server, allowed_clients=["viewer"])))
    try:
        with publisher._channel._socket.lock:  # type: ignore[attr-defined]  # as in the middle of a call
            publisher._channel._socket.busy = True  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGUSR1)
            publisher._channel._socket.busy = False  # type: ignore[attr-defined]
    finally:
        signal.signal(signal.SIGUSR1, before)
    until(lambda: subscriber.stats.reconnects == 1)
    until(lambda: publisher._enough(1))
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_reload_in_a_callback_of_an_event_hangs_nothing(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    viewer = opened(sides.client)
    subscriber = viewer.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    changes = []

    def reload(status: mb.Status) -> None:
        changes.append(status.state)
        if len(changes) == 1:
            viewer.reload(changed(sides.client, "camera1", **client_keys(OTHER)))

    subscriber.on_event(reload)
    bus.reload(changed(sides.server, allowed_clients=["logger"]))
    until(lambda: publisher.stats.clients.get("logger") == 1)


def test_asyncio_context_reloads_too(sides: Sides, opened: Open) -> None:
    import asyncio

    subscriber = opened(sides.client).new_subscriber("camera1")

    async def reload() -> None:
        async with aio.MsgbusContext(sides.server) as bus:
            publisher = bus.new_publisher("camera1")
            await publisher.wait_for_subscribers(1, 5)
            bus.reload(changed(sides.server, allowed_clients=["logger"]))
            await asyncio.to_thread(until, lambda: subscriber.status.state == "denied", CUT)

    asyncio.run(reload())


def test_listener_that_lost_its_port_says_so_and_comes_back(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = opened(sides.server)
    publisher = bus.new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    listening = publisher._channel._socket.link.listening  # type: ignore[attr-defined]
    begin, taken = listening.begin, threading.Event()

    def in_use() -> None:
        if not taken.is_set():
            raise zmq.ZMQError(zmq.EADDRINUSE)
        begin()

    monkeypatch.setattr(listening, "begin", in_use)
    bus.reload(changed(sides.server, allowed_clients=["viewer"]))
    until(lambda: publisher.status.state == "failed")
    assert "Address already in use" in publisher.status.reason
    taken.set()
    until(lambda: publisher.status.state == "listening")
    until(lambda: subscriber.stats.reconnects == 1)


# Socket files.

ME, VIEWER = os.geteuid(), 54322

SUBSCRIBER = """
become(config["user"], config["user"], config["group"])
bus = mb.MsgbusContext(config["bus"])
subscriber = bus.new_subscriber("camera1")
try:
    while True:
        subscriber.recv(8000)
        print("got")
except mb.MessageBusAuthenticationFailed:
    print("refused")
"""


def users(directory: Path, *allowed: int | str) -> dict[str, Any]:
    return {"type": "zmq_ipc", "socket_dir": str(directory), "camera1": {"allowed_users": list(allowed)}}


@pytest.mark.skipif(ME != 0, reason="only root becomes other users")
def test_removed_user_is_cut_and_the_others_go_on(
    socket_dir: Path, opened: Open, start: Start, tell: Callable[[str], object]
) -> None:
    os.chown(socket_dir, -1, VIEWER)
    socket_dir.chmod(0o2751)
    both = users(socket_dir, ME, VIEWER)
    bus = opened(both)
    publisher = bus.new_publisher("camera1")
    reader = Reader(opened(both).new_subscriber("camera1"))
    other = start(BECOME + SUBSCRIBER, {"bus": both, "user": VIEWER, "group": VIEWER})
    with streaming(publisher, reader):
        other.line("got")
        moment = time.monotonic()
        bus.reload(users(socket_dir, ME))
        other.line("refused", CUT)
        until(lambda: reader.since(moment + CUT))
    gap = reader.gap(moment)
    tell(f"the other one went on after {gap * 1000:.0f} ms")
    assert gap < BACK
    assert reader.in_order()
    assert publisher.stats.clients["54322"] == 1


def test_user_is_cut_and_let_in_again(socket_dir: Path, opened: Open) -> None:
    bus = opened({"type": "zmq_ipc", "socket_dir": str(socket_dir)})
    publisher, untouched = bus.new_publisher("camera1"), bus.new_publisher("camera2")
    client = opened({"type": "zmq_ipc", "socket_dir": str(socket_dir)})
    subscriber, beside = client.new_subscriber("camera1"), client.new_subscriber("camera2")
    for each in (publisher, untouched):
        each.wait_for_subscribers(1, 5000)
    bus.reload(users(socket_dir, VIEWER))
    until(lambda: subscriber.status.state == "denied", CUT)
    bus.reload(users(socket_dir, VIEWER, ME))
    publisher.wait_for_subscribers(1, 10000)
    publisher.publish({"n": 1})
    assert until(lambda: received(subscriber)) == {"n": 1}
    assert beside.stats.reconnects == 0


def received(subscriber: mb.Subscriber[Any]) -> Any:
    with contextlib.suppress(mb.MessageBusAuthenticationFailed, mb.ReceiveTimeout):
        return subscriber.recv(100).meta_data
    return None


def test_nothing_is_changed_when_the_system_has_no_such_user(socket_dir: Path, opened: Open) -> None:
    bus = opened(users(socket_dir, ME))
    publisher = bus.new_publisher("camera1")
    subscriber = opened(users(socket_dir, ME)).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    with pytest.raises(InvalidConfig, match=r"camera1\.allowed_users\[0\]: .*nobody-here"):
        bus.reload(users(socket_dir, "nobody-here"))
    late = opened(users(socket_dir, ME)).new_subscriber("camera1")
    until(lambda: late.status.state == "connected")
    assert subscriber.stats.reconnects == 0


def test_topics_of_one_socket_file_cannot_get_different_lists(socket_dir: Path, opened: Open) -> None:
    config: dict[str, Any] = {"type": "zmq_ipc", "socket_dir": str(socket_dir)}
    config |= {name: {"socket_file": "pub", "allowed_users": [ME]} for name in ("camera1", "camera2")}
    bus = opened(config)
    publishers = [bus.new_publisher(name) for name in ("camera1", "camera2")]
    with pytest.raises(InvalidConfig, match="expected the same allowed_users and allowed_groups for all topics at"):
        bus.reload(changed(config, "camera2", allowed_users=[VIEWER]))
    assert [publisher.status.state for publisher in publishers] == ["listening", "listening"]


def test_list_that_is_taken_back_at_once_lets_nobody_in(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server)
    service = bus.new_service("echo")
    service.on_event(lambda _: None)
    bus.reload(changed(sides.server, allowed_clients=[CLIENT.public, STRANGER.public]))
    bus.reload(sides.server)
    stranger = changed(sides.client, "echo", **client_keys(STRANGER))
    with pytest.raises(mb.MessageBusAuthenticationFailed):
        opened(stranger).get_service("echo").request({}, timeout=10_000)
    assert STRANGER.public not in service.stats.clients


def test_nobody_is_served_until_a_reload_that_failed_is_done(
    make_sides: Callable[[str], Sides], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = make_sides("curve")
    bus = opened(sides.server)
    service = bus.new_service("echo")
    stranger = opened(changed(sides.client, "echo", **client_keys(STRANGER))).get_service("echo")
    until(lambda: stranger.status.state == "connected")
    real, failures = Guard.admit, itertools.count()

    def fail_once(guard: Guard, who: Any) -> Any:
        if not next(failures):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(guard, who)

    monkeypatch.setattr(Guard, "admit", fail_once)
    bus.reload(changed(sides.server, allowed_clients=[CLIENT.public]))
    until(lambda: stranger.status.state == "denied")
    assert next(failures) > 1
    until(lambda: service.status.state == "listening")


def test_topics_hold_for_a_publisher_that_is_opened_during_a_reload(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = opened(sides.server)
    planned = TcpTransport._publisher_plan

    def reloaded(transport: TcpTransport, topic: str) -> Plan:
        plan = planned(transport, topic)
        with running(lambda: bus.reload(changed(sides.server, "zmq_tcp_publish", topics={"camera1": []}))):
            return plan

    monkeypatch.setattr(TcpTransport, "_publisher_plan", reloaded)
    with pytest.raises(InvalidConfig, match="topics"):
        bus.new_publisher("camera1")


def test_supervisor_lives_on_when_a_link_cannot_be_looked_after(
    sides: Sides, opened: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    calls = itertools.count()
    real = Watch._act_if_due

    def fail_once(watch: Watch) -> None:
        if not next(calls):
            raise RuntimeError("broken")
        real(watch)

    monkeypatch.setattr(Watch, "_act_if_due", fail_once)
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    until(lambda: "cannot look after" in caplog.text)
    until(lambda: subscriber.status.state == "connected")
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}
