"""What a channel does when a signal handler comes into the middle of a call: raises, closes, or uses it again."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus._channel import Closed
from eis.msgbus._config import Config
from eis.msgbus.transports.zmq.granting import GrantedSubscriptions
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.runtime import Runtime
from eis.msgbus.transports.zmq.supervisor import Supervisor
from eis.msgbus.transports.zmq.transport import _ZmqTransport
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD, Sides, until

BLOBS = [b"echo\0", b"\0", b"\2", b"{}", b"x"]


@pytest.fixture
def sides(make_sides: Callable[[str], Sides]) -> Sides:
    return make_sides("ipc")


@pytest.fixture
def service(sides: Sides, opened: Open) -> mb.Service:
    return opened(sides.server).new_service("echo")


@pytest.fixture
def requester(sides: Sides, opened: Open) -> mb.Requester:
    return opened(sides.client).get_service("echo")


def interrupt(channel: Any, name: str, when: int, handler: Callable[[], object] | None = None) -> None:
    """Let the signal come in the `when`-th call of the channel's `_send` or `_recv`, after its work is done."""
    real, calls = getattr(channel, name), iter(range(1, 1000))

    def call(*args: Any, **options: Any) -> Any:
        result = real(*args, **options)
        if next(calls) == when:
            setattr(channel, name, real)
            if handler is None:
                raise KeyboardInterrupt
            handler()
        return result

    setattr(channel, name, call)


def serve(service: mb.Service, requester: mb.Requester, number: int) -> None:
    """See that both work."""
    requester.request({"n": number})
    until(lambda: service.recv(5000).meta_data == {"n": number})
    service.response({"n": number})
    assert requester.recv(5000).meta_data == {"n": number}


@pytest.mark.parametrize("when", [1, 2, 3, 4])
@pytest.mark.parametrize("call", ["_send", "_recv"])
def test_requester_works_when_ctrl_c_came_in_the_middle(
    call: str, when: int, service: mb.Service, requester: mb.Requester
) -> None:
    interrupt(requester._channel, call, when)
    with pytest.raises(KeyboardInterrupt):
        serve(service, requester, 1)
    serve(service, requester, 2)


@pytest.mark.parametrize("when", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("call", ["_send", "_recv"])
def test_service_works_when_ctrl_c_came_in_the_middle(
    call: str, when: int, service: mb.Service, requester: mb.Requester
) -> None:
    interrupt(service._channel, call, when)
    with pytest.raises(KeyboardInterrupt):
        serve(service, requester, 1)
    serve(service, requester, 2)


def test_channel_that_a_handler_closes_finishes_its_call_first(service: mb.Service, sides: Sides, raw: Raw) -> None:
    channel: Any = service._channel
    interrupt(channel, "_recv", 2, channel.close)
    asking = raw(zmq.REQ, connect=sides.service)
    asking.send_multipart(GOOD)
    assert service.recv(5000).meta_data == {"n": 1}
    assert channel.link.socket.closed
    with pytest.raises(Closed):
        channel.receive()


def test_channel_refuses_a_handler_that_uses_what_it_interrupted(service: mb.Service, sides: Sides, raw: Raw) -> None:
    refused: list[str] = []

    def use() -> None:
        with pytest.raises(mb.MessageBusError) as caught:
            channel.send(BLOBS, [])
        refused.append(str(caught.value))

    channel: Any = service._channel
    interrupt(channel, "_recv", 2, use)
    raw(zmq.REQ, connect=sides.service).send_multipart(GOOD)
    assert service.recv(5000).meta_data == {"n": 1}
    assert refused == ["in use: a signal handler cannot use what the signal interrupted"]


def test_requester_that_a_handler_closes_and_stops_opens_no_new_link(requester: mb.Requester) -> None:
    channel: Any = requester._channel

    def close_and_stop() -> None:
        channel.close()
        raise KeyboardInterrupt

    interrupt(channel, "_send", 1, close_and_stop)
    link = channel.link
    with pytest.raises(KeyboardInterrupt):
        requester.request({})
    assert channel.link is link
    assert link.socket.closed


def test_publisher_that_everybody_may_read_listens_again_when_a_grant_was_interrupted(
    plain_sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    publisher = opened(plain_sides.server).new_publisher("camera1")
    channel: Any = publisher._channel
    with channel._lock, monkeypatch.context() as patched:  # the supervisor waits for the lock: signals are ours
        patched.setattr(GrantedSubscriptions, "_take", interrupt)
        subscriber = opened(plain_sides.client).new_subscriber("camera1")
        with pytest.raises(KeyboardInterrupt):
            until(lambda: publisher.publish({"n": 0}))
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_link_that_listens_again_meanwhile_does_so_once(
    plain_sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    channel: Any = publisher._channel
    link = channel._socket.link
    touch = link.touch

    def touched() -> bool:
        touch()
        return bool(link.unbound.is_set())

    def somebody_else_resumes() -> None:
        monkeypatch.setattr(link, "touch", touch)
        link.resume()
        link.unbound.set()  # as it was seen before

    with link.lock:  # the supervisor would be the other one
        link.cut()
        until(touched)
        monkeypatch.setattr(link, "touch", somebody_else_resumes)
        link.resume()
        assert link.listening.endpoint
        assert link.stopped == ""


@pytest.fixture
def open_link(sides: Sides, opened: Open) -> Iterator[tuple[Link, Runtime]]:
    with opened(sides.client).new_subscriber("camera1") as subscriber:
        channel: Any = subscriber._channel
        yield channel.link, channel._runtime


def test_link_that_was_left_open_is_closed_with_its_context(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with mb.MsgbusContext(sides.client) as bus:
        bus.new_subscriber("camera1")
        monkeypatch.setattr("eis.msgbus.transports.zmq.using.backend_calls", stop)
        with pytest.raises(KeyboardInterrupt):
            bus.get_service("echo")
        (link,) = bus._transport._runtime.links  # type: ignore[attr-defined]
        assert not link.socket.closed
    assert link.socket.closed


def test_forked_child_closes_nothing_of_its_parent(
    open_link: tuple[Link, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, runtime = open_link
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        link.close()
        runtime.close()
    assert not link.socket.closed
    assert not runtime.context.closed


def test_supervisor_knows_its_own_thread(open_link: tuple[Link, Runtime], monkeypatch: pytest.MonkeyPatch) -> None:
    """There the garbage collector may close a link, or the last of a context; it cannot wait for itself."""
    _, runtime = open_link
    assert not runtime.supervisor.is_this_thread()
    monkeypatch.setattr(Supervisor, "is_this_thread", lambda _: True)
    runtime.supervisor.close()
    monkeypatch.undo()


@pytest.mark.parametrize("plan", ["_publisher_plan", "_service_plan"])
def test_transport_without_plans_opens_nothing(plan: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(_ZmqTransport({"type": "zmq_tcp"}), plan)("camera1")
    with pytest.raises(NotImplementedError):
        _ZmqTransport({"type": "zmq_tcp"}).subscriber("camera1")
    with pytest.raises(NotImplementedError):
        _ZmqTransport({"type": "zmq_tcp"})._rekeyed(Plan(zmq.SUB, "", False, ()), "camera1", Config({}))


def test_service_finds_nothing_when_the_news_were_wrong(service: mb.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service._channel, "_events", lambda: 1)
    with pytest.raises(mb.NoMessage):
        service.recv(0)


def test_requester_finds_nothing_when_the_news_were_wrong(
    requester: mb.Requester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requester._channel, "_events", lambda: 1)
    requester.request({})
    with pytest.raises(mb.NoMessage):
        requester.recv(0)


def test_context_ends_when_python_starts_no_thread_any_more(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    bus = mb.MsgbusContext(sides.client)
    subscriber: Any = bus.new_subscriber("camera1")
    with monkeypatch.context() as ending:
        ending.setattr(threading.Thread, "start", refuse)
        bus.close()
    assert subscriber._channel._runtime.context.closed


def test_response_to_a_client_that_is_gone_is_counted_as_dropped(
    service: mb.Service, sides: Sides, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise zmq.ZMQError(zmq.EHOSTUNREACH)

    raw(zmq.REQ, connect=sides.service).send_multipart(GOOD)
    service.recv(5000)
    monkeypatch.setattr(service._channel, "_send", gone)
    service.response({})
    assert (service.stats.sent, service.stats.dropped) == (0, 1)
