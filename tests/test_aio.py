"""The asyncio API over the memory transport: cancelling, sharing, and loops that stay responsive."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._waiting.loops import give_way
from tests.hub import new_hub
from tests.meeting import DEADLINE


class Point(msgspec.Struct):
    x: int


def run(main: Callable[[aio.MsgbusContext], Awaitable[Any]]) -> Any:
    """Run a test in a loop with a context of its own."""

    async def within() -> Any:
        async with asyncio.timeout(DEADLINE), aio.MsgbusContext(new_hub()) as bus:
            return await main(bus)

    return asyncio.run(within())


async def until(condition: Callable[[], object]) -> None:
    """Give way to the other tasks until `condition` is true; `run` has the deadline."""
    while not condition():
        await give_way()


async def serve(service: aio.Service) -> None:
    async for request in service:
        service.response(({"re": request.meta_data}, request.blob or b""))


# Receiving


def test_recv_returns_what_is_there() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        publisher.publish(({"n": 1}, b"one"))
        assert await subscriber.recv() == ({"n": 1}, b"one")

    run(main)


@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_recv_waits_for_what_comes_later(timeout: float | None) -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        waiting = asyncio.create_task(subscriber.recv(timeout=timeout))
        await until(lambda: subscriber._waiters)
        publisher.publish({"late": True})
        assert await waiting == {"late": True}

    run(main)


def test_recv_raises_no_message_at_once_when_it_has_no_time() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        with pytest.raises(mb.NoMessage, match=r"^subscriber t: no message is there$"):
            await bus.new_subscriber("t").recv(timeout=0)

    run(main)


def test_recv_times_out_in_seconds() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        with pytest.raises(mb.ReceiveTimeout, match=r"^subscriber t: no message within 0\.01 s$"):
            await bus.new_subscriber("t").recv(timeout=0.01)

    run(main)


def test_typed_subscriber_receives_its_type() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t", type=Point)
        publisher.publish(Point(1))
        assert (await subscriber.recv()).meta_data.x == 1

    run(main)


def test_blocking_and_asyncio_contexts_reach_each_other() -> None:
    config = new_hub()

    async def main() -> None:
        async with aio.MsgbusContext(config) as bus:
            waiting = asyncio.create_task(bus.new_subscriber("t").recv(timeout=DEADLINE))
            with mb.MsgbusContext(config) as blocking:
                publisher = blocking.new_publisher("t")
                await asyncio.to_thread(publisher.wait_for_subscribers, 1, DEADLINE * 1000)
                await asyncio.to_thread(publisher.publish, {"from": "a thread"})
            assert await waiting == {"from": "a thread"}

    asyncio.run(main())


# Cancelling


def test_cancelled_recv_loses_no_message() -> None:
    async def main(bus: aio.MsgbusContext) -> list[int]:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        got: list[int] = []
        for number in range(100):
            waiting = asyncio.create_task(subscriber.recv())
            if number % 3:
                await until(lambda: subscriber._waiters)
            publisher.publish({"n": number})
            if number % 2:
                await give_way()
            waiting.cancel()
            try:
                got.append((await waiting)[0]["n"])
            except asyncio.CancelledError:
                got.append((await subscriber.recv(timeout=0))[0]["n"])
        return got

    assert run(main) == list(range(100))


@pytest.mark.parametrize("end", ["timeout", "wait_for"])
def test_recv_that_times_out_loses_no_message(end: str) -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        for number in range(20):
            with pytest.raises(TimeoutError):
                await (subscriber.recv(0.001) if end == "timeout" else asyncio.wait_for(subscriber.recv(), 0.001))
            publisher.publish({"n": number})
            assert await subscriber.recv(timeout=0) == {"n": number}

    run(main)


def test_cancelling_one_task_leaves_the_other_waiting() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        first, second = (asyncio.create_task(subscriber.recv()) for _ in range(2))
        await until(lambda: len(subscriber._waiters) == 2)
        first.cancel()
        publisher.publish({"n": 1})
        assert await second == {"n": 1}

    run(main)


# Sharing


def test_two_tasks_share_a_subscriber_and_each_message_goes_to_one() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")

        async def take(count: int) -> list[int]:
            return [(await subscriber.recv())[0]["n"] for _ in range(count)]

        both = asyncio.gather(take(50), take(50))
        for number in range(100):
            publisher.publish({"n": number})
            if number % 7 == 0:
                await give_way()
        one, two = await both
        assert sorted(one + two) == list(range(100))
        assert (one, two) == (sorted(one), sorted(two))

    run(main)


def test_requests_of_several_services_are_in_flight_at_once() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        names = ["a", "b", "c"]
        services = {name: bus.new_service(name) for name in names}
        asking = asyncio.gather(*(bus.get_service(name).request({"to": name}) for name in names))
        requests = {name: await service.recv() for name, service in services.items()}  # all before the first reply
        for name in reversed(names):
            services[name].response({"re": requests[name][0]["to"]})
        assert [reply.meta_data for reply in await asking] == [{"re": name} for name in names]

    run(main)


def test_tasks_that_share_a_requester_take_turns_and_each_gets_its_own_reply() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        serving = asyncio.create_task(serve(service := bus.new_service("echo")))
        requester = bus.get_service("echo")
        replies = await asyncio.gather(*(requester.request({"n": number}) for number in range(30)))
        assert [reply[0]["re"]["n"] for reply in replies] == list(range(30))
        service.close()
        await serving

    run(main)


def test_request_works_again_after_a_timeout_and_never_gets_the_old_reply() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        service, requester = bus.new_service("echo"), bus.get_service("echo")
        with pytest.raises(mb.ReceiveTimeout, match=r"^requester echo: no message within 0\.01 s$"):
            await requester.request({"n": "old"}, timeout=0.01)
        service.response(await service.recv())
        again = asyncio.create_task(requester.request({"n": "new"}))
        service.response(await service.recv())
        assert await again == {"n": "new"}

    run(main)


def test_request_works_again_when_the_one_before_was_cancelled() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        service, requester = bus.new_service("echo"), bus.get_service("echo")
        cancelled = asyncio.create_task(requester.request({"n": "old"}))
        service.response(await service.recv())
        cancelled.cancel()
        await asyncio.wait([cancelled])
        again = asyncio.create_task(requester.request({"n": "new"}))
        service.response(await service.recv())
        assert await again == {"n": "new"}

    run(main)


def test_publisher_waits_for_its_subscribers() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher = bus.new_publisher("t")
        waiting = asyncio.create_task(publisher.wait_for_subscribers(2, timeout=DEADLINE))
        await until(lambda: publisher._waiters)
        _subscribers = [bus.new_subscriber("t") for _ in range(2)]
        await waiting

    run(main)


@pytest.mark.parametrize("timeout", ["x", True, float("nan")])
def test_time_limit_that_is_no_number_is_an_error_in_every_call(timeout: Any) -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: bus.new_subscriber("t").recv(timeout=timeout),
            lambda: bus.new_publisher("t").wait_for_subscribers(1, timeout=timeout),
            lambda: bus.get_service("t").request({}, timeout=timeout),
            lambda: bus.new_service("t").recv(timeout=timeout),
        )
        for call in calls:
            with pytest.raises(mb.MessageBusError, match=r"^timeout: expected seconds, got "):
                await call()

    run(main)


def test_publisher_times_out_when_too_few_subscribers_come() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        with pytest.raises(mb.ReceiveTimeout, match=r"^publisher t: expected 2 subscribers within 0\.01 s$"):
            await bus.new_publisher("t").wait_for_subscribers(2, timeout=0.01)

    run(main)


def test_task_that_waits_for_few_subscribers_is_not_held_up_by_one_that_waits_for_many() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher = bus.new_publisher("t")
        many = asyncio.create_task(publisher.wait_for_subscribers(5))
        await until(lambda: publisher._waiters)
        _subscriber = bus.new_subscriber("t")
        await publisher.wait_for_subscribers(1, timeout=DEADLINE / 4)
        many.cancel()
        await asyncio.wait([many])

    run(main)


def test_task_that_waits_for_few_subscribers_is_woken_though_one_that_waits_for_many_looked_first() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher = bus.new_publisher("t")
        few = asyncio.create_task(publisher.wait_for_subscribers(1))
        await until(lambda: publisher._watch._waiting)
        _subscriber = bus.new_subscriber("t")
        looks_first = asyncio.current_task()
        assert looks_first is not None
        few.add_done_callback(lambda _: looks_first.cancel())
        with pytest.raises(asyncio.CancelledError):
            await publisher.wait_for_subscribers(5, timeout=DEADLINE / 4)
        looks_first.uncancel()
        await few

    run(main)


# Loops stay responsive


def test_other_tasks_run_while_messages_are_always_there() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await give_way()

        counting = asyncio.create_task(count_turns())
        for _ in range(1000):
            publisher.publish({})
        for _ in range(1000):
            await subscriber.recv()
        assert 10 <= turns < 1000
        counting.cancel()

    run(main)


# Iterating and closing


def test_iteration_yields_every_message_and_ends_when_the_subscriber_is_closed() -> None:
    async def main(bus: aio.MsgbusContext) -> list[int]:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        seen: list[int] = []

        async def read() -> None:
            async for envelope in subscriber:
                await give_way()
                seen.append(envelope[0]["n"])

        reading = asyncio.create_task(read())
        for number in range(5):
            publisher.publish({"n": number})
        await until(lambda: len(seen) == 5 and subscriber._waiters)
        subscriber.close()
        await reading
        return seen

    assert run(main) == [0, 1, 2, 3, 4]


def test_iteration_over_a_closed_subscriber_yields_nothing() -> None:
    async def main(bus: aio.MsgbusContext) -> list[Any]:
        async with bus.new_subscriber("t") as subscriber:
            pass
        return [envelope async for envelope in subscriber]

    assert run(main) == []


def test_waiting_ends_for_every_task_when_the_endpoint_is_closed() -> None:
    async def main(bus: aio.MsgbusContext) -> None:
        subscriber = bus.new_subscriber("t")
        waiting = [asyncio.create_task(subscriber.recv()) for _ in range(3)]
        await until(lambda: len(subscriber._waiters) == 3)
        subscriber.close()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [(str(error), isinstance(error, mb.MessageBusError)) for error in errors] == [
            ("subscriber t is closed", True)
        ] * 3

    run(main)


def test_leaving_the_context_closes_every_endpoint() -> None:
    async def main() -> None:
        async with aio.MsgbusContext(new_hub()) as bus:
            publisher, requester = bus.new_publisher("t"), bus.get_service("t")
        with pytest.raises(mb.MessageBusError, match=r"^publisher t is closed$"):
            publisher.publish({})
        with pytest.raises(mb.MessageBusError, match=r"^requester t is closed$"):
            await requester.request({})

    asyncio.run(main())


def test_context_can_be_closed_without_a_block() -> None:
    async def main() -> None:
        bus = aio.MsgbusContext(new_hub())
        subscriber = bus.new_subscriber("t")
        bus.close()
        bus.close()
        with pytest.raises(mb.MessageBusError, match=r"^subscriber t is closed$"):
            await subscriber.recv()

    asyncio.run(main())
