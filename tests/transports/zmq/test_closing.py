"""Closing: twice, while others wait, and what use after it says."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import Sides, running

USES: dict[str, Callable[[Any], object]] = {
    "publisher camera1": lambda endpoint: endpoint.publish({}),
    "subscriber camera1": lambda endpoint: endpoint.recv(100),
    "service echo": lambda endpoint: endpoint.recv(100),
    "requester echo": lambda endpoint: endpoint.request({}),
}
WAITS: dict[str, Callable[[Any], object]] = {
    "publisher camera1": lambda endpoint: endpoint.wait_for_subscribers(),
    "subscriber camera1": lambda endpoint: endpoint.recv(),
    "service echo": lambda endpoint: endpoint.recv(),
    "requester echo": lambda endpoint: endpoint.request({}, timeout=-1),
}


def open_endpoint(title: str, sides: Sides, opened: Open) -> tuple[mb.MsgbusContext, Any]:
    bus = opened(sides.server if title.startswith(("publisher", "service")) else sides.client)
    kind, _, name = title.partition(" ")
    opening = {"publisher": bus.new_publisher, "subscriber": bus.new_subscriber, "service": bus.new_service}
    return bus, opening.get(kind, bus.get_service)(name)  # type: ignore[operator]  # each takes a name


@pytest.mark.parametrize("title", USES)
def test_use_is_an_error_after_close(title: str, plain_sides: Sides, opened: Open) -> None:
    _, endpoint = open_endpoint(title, plain_sides, opened)
    endpoint.close()
    endpoint.close()
    with pytest.raises(mb.MessageBusError, match=f"^{title} is closed$"):
        USES[title](endpoint)


@pytest.mark.parametrize("title", USES)
def test_use_is_an_error_after_the_context_was_closed(title: str, plain_sides: Sides, opened: Open) -> None:
    bus, endpoint = open_endpoint(title, plain_sides, opened)
    bus.close()
    bus.close()
    with pytest.raises(mb.MessageBusError, match=f"^{title} is closed$"):
        USES[title](endpoint)
    with pytest.raises(mb.MessageBusError, match="this context is closed"):
        open_again(bus, title)


def open_again(bus: mb.MsgbusContext, title: str) -> None:
    kind, _, name = title.partition(" ")
    {
        "publisher": bus.new_publisher,
        "subscriber": bus.new_subscriber,
        "service": bus.new_service,
        "requester": bus.get_service,
    }[kind](name)  # type: ignore[operator]  # each takes a name


@pytest.mark.parametrize("how", ["endpoint", "context"])
@pytest.mark.parametrize("title", WAITS)
def test_wait_ends_with_an_error_when_another_thread_closes(
    title: str, how: str, plain_sides: Sides, opened: Open
) -> None:
    bus, endpoint = open_endpoint(title, plain_sides, opened)
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        with pytest.raises(mb.MessageBusError, match=f"^{title} is closed$"):
            WAITS[title](endpoint)

    with running(wait):
        assert begun.wait(10)
        (endpoint if how == "endpoint" else bus).close()


def test_all_waits_end_when_three_threads_wait(plain_sides: Sides, opened: Open) -> None:
    bus = opened(plain_sides.client)
    subscriber = bus.new_subscriber("camera1")
    begun = threading.Barrier(4)

    def wait() -> None:
        begun.wait(10)
        assert list(subscriber) == []

    with running(wait), running(wait), running(wait):
        begun.wait(10)
        bus.close()


def test_endpoints_can_be_opened_and_closed_from_many_threads(sides: Sides, opened: Open) -> None:
    server = opened(sides.server)

    def churn() -> None:
        for number in range(25):
            with server.new_publisher("camera1") as publisher:
                publisher.publish({"n": number})

    with running(churn), running(churn), running(churn), running(churn):
        pass
    assert server.stats() == ()


def test_address_is_free_as_soon_as_close_returns(sides: Sides) -> None:
    for _ in range(10):
        with mb.MsgbusContext(sides.server) as server:
            server.new_publisher("camera1").close()
            server.new_service("echo").close()
