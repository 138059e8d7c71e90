"""Who answers which request, when several threads or tasks use one service; over the memory transport."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._endpoint.requests import _asked
from eis.msgbus._waiting.loops import give_way
from tests.hub import new_hub
from tests.meeting import DEADLINE, threads, until

NOTHING = "no request was received that waits for a response of this thread or task"


@pytest.fixture
def bus() -> Iterator[mb.MsgbusContext]:
    with mb.MsgbusContext(new_hub()) as bus:
        yield bus


def asking(bus: Any, count: int) -> list[Any]:
    """Open requesters that have asked, each for its number."""
    requesters = [bus.get_service("echo") for _ in range(count)]
    for number, requester in enumerate(requesters):
        requester.request({"n": number})
    return requesters


# Threads


def test_each_thread_answers_the_request_that_it_received(bus: mb.MsgbusContext) -> None:
    service, all_have_one = bus.new_service("echo"), threading.Barrier(4)

    def work() -> None:
        request = service.recv(timeout=DEADLINE * 1000)
        all_have_one.wait(DEADLINE)
        service.response({"re": request.meta_data["n"]})

    with threads(4) as pool:
        working = [pool.submit(work) for _ in range(4)]
        until(lambda: len(service._waiters) == 4)
        requesters = asking(bus, 4)
        for each in working:
            each.result(DEADLINE)
    assert [requester.recv(0).meta_data for requester in requesters] == [{"re": number} for number in range(4)]


def test_threads_answer_in_any_order(bus: mb.MsgbusContext) -> None:
    service = bus.new_service("echo")
    first, second = asking(bus, 2)
    with threads() as early, threads() as late:
        requests = [pool.submit(service.recv, 0).result(DEADLINE).meta_data for pool in (early, late)]
        late.submit(service.response, {"re": 1}).result(DEADLINE)
        with pytest.raises(mb.NoMessage):
            first.recv(0)
        early.submit(service.response, {"re": 0}).result(DEADLINE)
    assert requests == [{"n": 0}, {"n": 1}]
    assert (first.recv(0), second.recv(0)) == ({"re": 0}, {"re": 1})


def test_thread_cannot_answer_what_another_received(bus: mb.MsgbusContext) -> None:
    service, (requester,) = bus.new_service("echo"), asking(bus, 1)
    service.recv(0)
    with threads() as pool, pytest.raises(mb.MessageBusError, match=f"^service echo: {NOTHING}$"):
        pool.submit(service.response, {"mine": False}).result(DEADLINE)
    service.response({"mine": True})
    assert requester.recv(0) == {"mine": True}


def test_thread_with_two_services_answers_each_of_them(bus: mb.MsgbusContext) -> None:
    services = [bus.new_service(name) for name in ("one", "two")]
    requesters = [bus.get_service(name) for name in ("one", "two")]
    for requester, service in zip(requesters, services, strict=True):
        requester.request({})
        service.recv(0)
    for service in services:
        service.response({"from": service.name})
    assert [requester.recv(0) for requester in requesters] == [{"from": "one"}, {"from": "two"}]


def test_request_is_given_up_when_its_thread_asks_for_the_next(bus: mb.MsgbusContext) -> None:
    service, _ = bus.new_service("echo"), asking(bus, 1)
    service.recv(0)
    with pytest.raises(mb.NoMessage, match=r"^service echo: no message is there$"):
        service.recv(0)
    with pytest.raises(mb.MessageBusError, match=NOTHING):
        service.response({})


def test_one_of_two_threads_answers_a_request_that_both_may(bus: mb.MsgbusContext) -> None:
    service, (requester,) = bus.new_service("echo"), asking(bus, 1)
    service.recv(0)
    with threads() as pool:
        pool.submit(contextvars.copy_context().run, service.response, {"n": 1}).result(DEADLINE)
    with pytest.raises(mb.MessageBusError, match=NOTHING):
        service.response({"n": 2})
    assert requester.recv(0) == {"n": 1}


def test_those_who_wait_are_woken_when_a_request_was_taken(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, woken = bus.new_service("echo"), list[bool]()
    monkeypatch.setattr(service._channel, "wake", lambda: woken.append(True))
    asking(bus, 2)
    service.recv(0)
    alone = len(woken)
    service._waiters.add(another := object())
    service.recv(0)
    service._waiters.discard(another)
    assert (alone, len(woken)) == (0, 1)


def test_request_can_still_be_answered_when_the_channel_could_not_send(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, (requester,) = bus.new_service("echo"), asking(bus, 1)

    def refuse(*_: Any) -> None:
        raise mb.MessageBusError("not now")

    service.recv(0)
    with monkeypatch.context() as patch:
        patch.setattr(service._channel, "send", refuse)
        with pytest.raises(mb.MessageBusError, match=r"^service echo: not now$"):
            service.response({})
    service.response({"n": 1})
    assert requester.recv(0) == {"n": 1}


def test_error_names_the_service_when_its_channel_was_closed_under_it(bus: mb.MsgbusContext) -> None:
    service, _ = bus.new_service("echo"), asking(bus, 1)
    service.recv(0)
    bus._transport.close()
    with pytest.raises(mb.MessageBusError, match=r"^service echo is closed$"):
        service.response({})
    with pytest.raises(mb.MessageBusError, match=r"^service echo is closed$"):
        service.recv()


# What is kept


class WayBack:
    """Be something of which a test sees whether it is kept."""


def test_way_back_of_a_request_that_nobody_answered_is_kept_as_long_as_its_thread(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, ways = bus.new_service("echo"), [WayBack() for _ in range(3)]
    kept = [weakref.ref(way) for way in ways]
    monkeypatch.setattr(service._channel, "receive", lambda: ([b"echo\0", b"\0", b"\1", b"{}"], ways.pop(0)))
    with threads() as pool:
        for _ in range(3):
            pool.submit(service.recv, 0).result(DEADLINE)
        during = [way() is not None for way in kept]
    gc.collect()
    assert during == [False, False, True]
    assert [way() for way in kept] == [None] * 3


def test_thread_forgets_services_that_are_gone(bus: mb.MsgbusContext) -> None:
    def serve_ten_and_one() -> int:
        for number in range(10):
            with bus.new_service(f"{number}") as service, pytest.raises(mb.NoMessage):
                service.recv(0)
            del service
        gc.collect()
        with pytest.raises(mb.NoMessage):
            bus.new_service("last").recv(0)
        return len(_asked.get())

    assert contextvars.copy_context().run(serve_ten_and_one) == 1


def test_service_keeps_its_time_limit_when_a_stranger_asks_without_pause(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = bus.new_service("echo")
    monkeypatch.setattr(service._channel, "receive", lambda: ([b"x"], None))
    monkeypatch.setattr(service._channel, "send", lambda *_: None)
    with pytest.raises(mb.ReceiveTimeout, match=r"^service echo: no message within 20 ms$"):
        service.recv(20)


# Tasks


def run(main: Callable[[aio.MsgbusContext, aio.Service], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(DEADLINE), aio.MsgbusContext(new_hub()) as bus:
            return await main(bus, bus.new_service("echo"))

    return asyncio.run(within())


async def ask(bus: aio.MsgbusContext, count: int) -> list[Any]:
    replies = await asyncio.gather(*(bus.get_service("echo").request({"n": number}) for number in range(count)))
    return [reply.meta_data for reply in replies]


def test_each_task_answers_the_request_that_it_received() -> None:
    async def main(bus: aio.MsgbusContext, service: aio.Service) -> None:
        received: list[int] = []

        async def work() -> None:
            request = await service.recv()
            received.append(request.meta_data["n"])
            while len(received) < 4 or received[-1] != request.meta_data["n"]:  # the last one answers first
                await give_way()
            service.response({"re": request.meta_data["n"]})
            received.pop()
            received.insert(0, -1)

        working = [asyncio.create_task(work()) for _ in range(4)]
        assert await ask(bus, 4) == [{"re": number} for number in range(4)]
        await asyncio.gather(*working)

    run(main)


def test_task_that_is_made_for_a_request_answers_that_one() -> None:
    async def main(bus: aio.MsgbusContext, service: aio.Service) -> None:
        handling: list[asyncio.Task[None]] = []
        all_came = asyncio.Event()

        async def handle(request: mb.MsgEnvelope[Any]) -> None:
            await all_came.wait()
            service.response({"re": request.meta_data["n"]})

        async def serve() -> None:
            async for request in service:
                handling.append(asyncio.create_task(handle(request)))
                if len(handling) == 20:
                    all_came.set()

        serving = asyncio.create_task(serve())
        assert await ask(bus, 20) == [{"re": number} for number in range(20)]
        service.close()
        await asyncio.gather(serving, *handling)

    run(main)


@pytest.mark.parametrize(
    "received",
    [lambda service: asyncio.wait_for(service.recv(), DEADLINE), lambda service: asyncio.create_task(service.recv())],
    ids=["wait_for", "create_task"],
)
def test_request_is_answered_by_who_called_recv_though_another_task_waited(
    received: Callable[[aio.Service], Awaitable[Any]],
) -> None:
    async def main(bus: aio.MsgbusContext, service: aio.Service) -> None:
        asked = asyncio.create_task(ask(bus, 1))
        service.response({"re": (await received(service)).meta_data})
        assert await asked == [{"re": {"n": 0}}]

    run(main)


def test_request_is_answered_once_when_the_task_and_its_maker_try() -> None:
    async def main(bus: aio.MsgbusContext, service: aio.Service) -> None:
        async def handle() -> None:
            service.response({"by": "the task"})

        asked = asyncio.create_task(ask(bus, 1))
        await service.recv()
        await asyncio.create_task(handle())
        with pytest.raises(mb.MessageBusError, match=NOTHING):
            service.response({"by": "its maker"})
        assert await asked == [{"by": "the task"}]
        assert service.stats.sent == 1

    run(main)


def test_thread_of_a_task_answers_for_it() -> None:
    async def main(bus: aio.MsgbusContext, service: aio.Service) -> None:
        asked = asyncio.create_task(ask(bus, 1))
        await service.recv()
        await asyncio.to_thread(service.response, {"by": "a thread"})
        assert await asked == [{"by": "a thread"}]

    run(main)


def test_request_that_is_there_already_is_received_at_once_and_the_others_get_a_turn() -> None:
    async def main(bus: aio.MsgbusContext, service: aio.Service) -> None:
        requesters = [bus.get_service("echo") for _ in range(100)]
        for requester in requesters:
            requester._request({})
        turns: list[bool] = []
        asyncio.get_running_loop().call_soon(turns.append, True)
        for _ in range(100):
            await service.recv(0)
        assert turns == [True]
        with pytest.raises(mb.NoMessage):
            await service.recv(0)

    run(main)
