"""What an endpoint's status is, and who is told of its changes; over the memory transport."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._status import LiveStatus, Status

CONFIG = {"type": "memory", "hub": "status"}


class Heard(list[Status]):
    """Remember what was told."""

    def take(self, status: Status) -> None:
        self.append(status)

    @property
    def states(self) -> list[str]:
        return [status.state for status in self]


@pytest.fixture
def bus() -> Iterator[mb.MsgbusContext]:
    with mb.MsgbusContext(CONFIG) as bus:
        yield bus


def live(endpoint: Any) -> LiveStatus:
    status = endpoint._channel.status
    assert isinstance(status, LiveStatus)
    return status


def test_change_is_told_once_while_it_lasts() -> None:
    status, heard = LiveStatus("connecting"), Heard()
    status.listen(heard.take)
    status.change("connecting")
    status.change("denied", "no key")
    status.change("denied", "no key")
    status.change("denied", "another key")
    status.change("connected")
    assert [(each.state, each.reason) for each in heard] == [
        ("denied", "no key"),
        ("denied", "another key"),
        ("connected", ""),
    ]
    assert status.now is heard[-1]
    assert heard[0].since <= heard[-1].since


def test_status_keeps_nobody_alive_who_listens() -> None:
    status, heard, other = LiveStatus("connecting"), Heard(), Heard()
    status.listen(heard.take)
    gone = weakref.ref(heard)
    del heard
    gc.collect()
    assert gone() is None
    status.change("connected")
    status.listen(other.take)
    status.change("stalled")
    assert other.states == ["stalled"]


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("new_publisher", "listening"),
        ("new_subscriber", "connected"),
        ("new_service", "listening"),
        ("get_service", "connected"),
    ],
)
def test_endpoint_in_memory_has_a_status_until_it_is_closed(bus: mb.MsgbusContext, kind: str, state: str) -> None:
    endpoint = getattr(bus, kind)("camera1")
    assert (endpoint.status.endpoint, endpoint.status.state) == (f"{endpoint.kind} camera1", state)
    endpoint.close()
    assert endpoint.status.state == "closed"


def test_every_change_is_told_with_the_name_of_the_endpoint_up_to_its_end(bus: mb.MsgbusContext) -> None:
    subscriber, heard = bus.new_subscriber("camera1"), Heard()
    subscriber.on_event(heard.take)
    live(subscriber).change("reconnecting", "the connection was lost")
    assert subscriber.status == heard[0]
    assert (heard[0].endpoint, heard[0].reason) == ("subscriber camera1", "the connection was lost")
    subscriber.close()
    subscriber.close()
    live(subscriber).change("connected")
    assert heard.states == ["reconnecting", "closed"]


def test_nobody_is_told_who_wants_to_know_no_more(bus: mb.MsgbusContext) -> None:
    subscriber, first, second = bus.new_subscriber("camera1"), Heard(), Heard()
    stop = subscriber.on_event(first.take)
    subscriber.on_event(second.take)
    live(subscriber).change("stalled")
    stop()
    stop()
    live(subscriber).change("connected")
    assert (first.states, second.states) == (["stalled"], ["stalled", "connected"])


def test_error_of_a_listener_is_logged_and_the_others_are_told(
    bus: mb.MsgbusContext, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(status: Status) -> None:
        raise RuntimeError(status.state)

    subscriber, heard = bus.new_subscriber("camera1"), Heard()
    subscriber.on_event(fail)
    subscriber.on_event(heard.take)
    live(subscriber).change("stalled")
    assert heard.states == ["stalled"]
    assert "subscriber camera1: an error in what on_event was given" in caplog.text


def test_forgotten_endpoint_is_closed_although_somebody_listens(bus: mb.MsgbusContext) -> None:
    subscriber = bus.new_subscriber("camera1")
    subscriber.on_event(print)
    channel = subscriber._channel
    del subscriber
    gc.collect()
    assert channel.closed  # type: ignore[attr-defined]


def test_events_begin_with_the_status_and_end_with_the_endpoint() -> None:
    async def run() -> list[str]:
        async with aio.MsgbusContext(CONFIG) as bus:
            subscriber = bus.new_subscriber("camera1")
            heard: list[str] = []
            async for event in subscriber.events():
                heard.append(event.state)
                if event.state == "connected":
                    await asyncio.to_thread(live(subscriber).change, "stalled", "no message")
                elif event.state == "stalled":
                    subscriber.close()
            return heard

    assert asyncio.run(run()) == ["connected", "stalled", "closed"]


def test_events_of_a_closed_endpoint_are_its_end() -> None:
    async def run() -> list[str]:
        async with aio.MsgbusContext(CONFIG) as bus:
            publisher = bus.new_publisher("camera1")
            publisher.close()
            return [event.state async for event in publisher.events()]

    assert asyncio.run(run()) == ["closed"]


def test_oldest_events_are_dropped_for_a_task_that_is_behind() -> None:
    async def run() -> list[str]:
        async with aio.MsgbusContext(CONFIG) as bus:
            subscriber = bus.new_subscriber("camera1")
            events = subscriber.events()
            await anext(events)
            for number in range(500):
                live(subscriber).change("reconnecting", str(number))
            subscriber.close()
            return [event.reason async for event in events]

    assert asyncio.run(run()) == [*(str(number) for number in range(401, 500)), ""]


def test_event_that_came_while_the_status_was_looked_at_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        async with aio.MsgbusContext(CONFIG) as bus:
            subscriber = bus.new_subscriber("camera1")
            listen = subscriber.on_event

            def listen_late(take: Any) -> Any:
                stop = listen(take)
                live(subscriber).change("stalled")
                return stop

            monkeypatch.setattr(subscriber, "on_event", listen_late)
            heard: list[str] = []
            async for event in subscriber.events():
                heard.append(event.state)
                asyncio.get_running_loop().call_later(0.01, subscriber.close)
            return heard

    assert asyncio.run(run()) == ["stalled", "closed"]
