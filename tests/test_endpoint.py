"""What blocking and asyncio endpoints have in common: names, counts, refusals, ends."""

import gc
import logging
import os
import weakref
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

import eis.msgbus as mb
from eis.msgbus._channel import Serving, _close_ours
from eis.msgbus._waiting import Deadline
from tests.hub import new_hub, raw

GOOD = [b"t\0", b"\0", b"\1", b'{"good":1}']
MALFORMED = [b"t\0", b"\0", b"\7", b"{}"]
KINDS = ["new_publisher", "new_subscriber", "new_service", "get_service"]


class Point(msgspec.Struct):
    x: int


@pytest.fixture
def config() -> dict[str, Any]:
    return new_hub()


@pytest.fixture
def bus(config: dict[str, Any]) -> Iterator[mb.MsgbusContext]:
    with mb.MsgbusContext(config) as bus:
        yield bus


# Names


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("new_publisher", "publisher camera1"),
        ("new_subscriber", "subscriber camera1"),
        ("new_service", "service camera1"),
        ("get_service", "requester camera1"),
    ],
)
def test_endpoint_is_called_by_its_kind_and_name(bus: mb.MsgbusContext, kind: str, title: str) -> None:
    endpoint = getattr(bus, kind)("camera1")
    before = repr(endpoint)
    endpoint.close()
    assert (endpoint.name, before, repr(endpoint), endpoint.stats.endpoint) == (
        "camera1",
        f"<{title}>",
        f"<{title} (closed)>",
        title,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [5, "a\0b", "\ud800"])
def test_endpoint_is_refused_when_the_wire_has_no_form_for_its_name(
    bus: mb.MsgbusContext, kind: str, name: Any
) -> None:
    with pytest.raises(mb.MessageBusError, match=r"^name"):
        getattr(bus, kind)(name)
    assert bus.stats() == ()


def test_subscriber_is_refused_when_its_type_is_none(bus: mb.MsgbusContext) -> None:
    with pytest.raises(mb.MessageBusError, match="type: expected a msgspec Struct or a dataclass"):
        bus.new_subscriber("t", type=5)  # type: ignore[call-overload]  # that it is no type
    assert bus.stats() == ()


# Counts


def test_stats_count_what_was_sent_and_handed_out(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    for number in range(3):
        publisher.publish({"n": number})
    subscriber.recv(0)
    assert bus.stats() == (
        mb.Stats("publisher t", sent=3),
        mb.Stats("subscriber t", received=1),
    )


def test_stats_stay_as_they_were_when_the_endpoint_is_closed(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    for number in range(3):
        publisher.publish({"n": number})
    subscriber.recv(0)
    before = (publisher.stats, subscriber.stats)
    bus.close()
    assert (publisher.stats, subscriber.stats) == before


def test_stats_of_a_context_leave_out_what_is_closed(bus: mb.MsgbusContext) -> None:
    bus.new_publisher("a").close()
    kept = bus.new_publisher("b")
    assert bus.stats() == (kept.stats,)


def test_stats_count_drops_when_a_subscriber_does_not_read(bus: mb.MsgbusContext) -> None:
    publisher, _slow = bus.new_publisher("t"), bus.new_subscriber("t")
    for number in range(1010):
        publisher.publish({"n": number})
    assert publisher.stats == mb.Stats("publisher t", sent=1010, dropped=10)


def test_stats_are_a_snapshot_that_cannot_be_changed(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("t")
    before = publisher.stats
    publisher.publish({})
    assert (before.sent, publisher.stats.sent) == (0, 1)
    with pytest.raises(AttributeError):
        before.sent = 5  # type: ignore[misc]  # that it is frozen


# What strangers send


def test_subscriber_skips_counts_and_logs_a_malformed_message(
    bus: mb.MsgbusContext, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    subscriber = bus.new_subscriber("t")
    with raw(config) as stranger, caplog.at_level(logging.WARNING, "eis.msgbus"):
        channel = stranger.publisher("t")
        for frames in (MALFORMED, MALFORMED, GOOD):
            channel.send(frames)
        assert subscriber.recv(0) == {"good": 1}
    assert subscriber.stats == mb.Stats("subscriber t", received=1, malformed=2)
    assert caplog.messages == ["subscriber t refuses a message: announced b'\\x07' parts, sent 1"]


def test_subscriber_logs_again_when_it_was_quiet_for_a_while(
    bus: mb.MsgbusContext, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    subscriber = bus.new_subscriber("t")
    with raw(config) as stranger:
        for _ in range(2):
            stranger.publisher("t").send(MALFORMED)
            with pytest.raises(mb.NoMessage):
                subscriber.recv(0)
            subscriber._quiet = Deadline(0)
    assert len(caplog.messages) == 2


def test_recv_keeps_its_time_limit_when_a_stranger_sends_without_pause(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriber = bus.new_subscriber("t")
    monkeypatch.setattr(subscriber._channel, "receive", lambda: [MALFORMED])
    with pytest.raises(mb.ReceiveTimeout, match=r"^subscriber t: no message within 20 ms$"):
        subscriber.recv(20)


def test_typed_subscriber_skips_and_counts_what_does_not_fit(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t", type=Point)
    publisher.publish({"x": "one"})
    publisher.publish(b"no metadata")
    publisher.publish(Point(1))
    assert subscriber.recv(0).meta_data == Point(1)
    assert subscriber.stats == mb.Stats("subscriber t", received=1, refused=2)


def test_service_answers_a_malformed_request_with_an_error_and_goes_on(
    bus: mb.MsgbusContext, config: dict[str, Any]
) -> None:
    service = bus.new_service("echo")
    with raw(config) as stranger:
        requester = stranger.requester("echo")
        requester.send(MALFORMED)
        with pytest.raises(mb.NoMessage):
            service.recv(0)
        (reply,) = cast("Any", requester.receive())
        requester.send(GOOD)
        assert service.recv(0) == {"good": 1}
    assert b"service echo refuses the request: announced" in reply[3]
    assert service.stats == mb.Stats("service echo", sent=1, received=1, malformed=1)


def answering(service: Serving) -> Any:
    request = service.receive()
    assert request is not None
    return request[1]


def test_requester_raises_when_it_cannot_read_the_reply_and_works_again(
    bus: mb.MsgbusContext, config: dict[str, Any]
) -> None:
    requester = bus.get_service("echo")
    with raw(config) as stranger:
        service = stranger.service("echo")
        requester.request({"n": 1})
        service.send(MALFORMED, answering(service))
        with pytest.raises(mb.InvalidMessage) as caught:
            requester.recv(0)
        requester.request({"n": 2})
        service.send(GOOD, answering(service))
        assert requester.recv(0) == {"good": 1}
    assert str(caught.value) == "requester echo got a reply that it cannot read: announced b'\\x07' parts, sent 1"
    assert requester.stats.malformed == 1


def test_response_that_cannot_be_sent_leaves_the_request_to_be_answered(bus: mb.MsgbusContext) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    requester.request({})
    service.recv(0)
    with pytest.raises(mb.InvalidMessage, match=r"metadata\.x: cannot send set"):
        service.response({"x": {1}})
    service.response({"x": [1]})
    assert requester.recv(0) == {"x": [1]}


@pytest.mark.parametrize("message", [{"x": b"bytes"}, "text", None, ({}, 5)])
def test_publish_refuses_what_the_wire_has_no_form_for_before_anything_is_sent(
    bus: mb.MsgbusContext, message: Any
) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    with pytest.raises(mb.InvalidMessage):
        publisher.publish(message)
    assert publisher.stats.sent == 0
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)


def test_error_of_a_channel_names_the_endpoint(bus: mb.MsgbusContext) -> None:
    with pytest.raises(mb.MessageBusError) as caught:
        bus.new_service("echo").response({})
    problem = "no request was received that waits for a response of this thread or task"
    assert str(caught.value) == f"service echo: {problem}"


def test_error_of_a_channel_keeps_its_own_kind(bus: mb.MsgbusContext) -> None:
    service = bus.new_service("echo")
    with pytest.raises(mb.AddressInUse, match="another service echo is open in this hub"):
        bus.new_service("echo")
    service.close()


# Ends


def test_error_names_the_endpoint_when_its_channel_was_closed_under_it(bus: mb.MsgbusContext) -> None:
    publisher, subscriber, requester = bus.new_publisher("t"), bus.new_subscriber("t"), bus.get_service("t")
    bus._transport.close()
    with pytest.raises(mb.MessageBusError, match=r"^publisher t is closed$"):
        publisher.publish({})
    with pytest.raises(mb.MessageBusError, match=r"^publisher t is closed$"):
        publisher.wait_for_subscribers(1, timeout=0)
    with pytest.raises(mb.MessageBusError, match=r"^subscriber t is closed$"):
        subscriber.recv()
    with pytest.raises(mb.MessageBusError, match=r"^requester t is closed$"):
        requester.request({})


def test_context_is_closed_when_it_is_forgotten(config: dict[str, Any]) -> None:
    forgotten = mb.MsgbusContext(config)
    transport = weakref.ref(forgotten._transport)
    del forgotten
    gc.collect()
    assert transport() is None


def test_endpoint_keeps_its_context_open(config: dict[str, Any]) -> None:
    subscriber = mb.MsgbusContext(config).new_subscriber("t")
    gc.collect()
    with mb.MsgbusContext(config) as other:
        other.new_publisher("t").publish({"n": 1})
    assert subscriber.recv(0) == {"n": 1}
    subscriber.close()


def test_endpoint_leaves_the_bus_when_it_is_forgotten(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("t")
    forgotten = bus.new_subscriber("t")
    publisher.wait_for_subscribers(1, timeout=0)
    del forgotten
    gc.collect()
    with pytest.raises(mb.ReceiveTimeout):
        publisher.wait_for_subscribers(1, timeout=0)
    assert bus.stats() == (publisher.stats,)


def test_closed_context_opens_nothing(config: dict[str, Any]) -> None:
    bus = mb.MsgbusContext(config)
    bus.close()
    bus.close()
    for kind in KINDS:
        with pytest.raises(mb.MessageBusError, match="closed"):
            getattr(bus, kind)("t")


def test_forked_child_closes_nothing_of_its_parent() -> None:
    closed: list[int] = []
    _close_ours(os.getpid() + 1, lambda: closed.append(1))
    assert closed == []


# Reload


def test_memory_goes_on_with_the_same_hub_and_refuses_another(bus: mb.MsgbusContext, config: dict[str, Any]) -> None:
    bus.reload(config)
    with pytest.raises(mb.InvalidConfig) as caught:
        bus.reload({**config, "hub": "other"})
    assert str(caught.value) == f"config hub: expected {config['hub']!r} as before, got 'other'"
    with pytest.raises(mb.InvalidConfig, match="config type: expected 'memory' as before, got 'zmq_ipc'"):
        bus.reload({"type": "zmq_ipc"})
    bus.close()
    with pytest.raises(mb.MessageBusError, match="this context is closed"):
        bus.reload(config)
