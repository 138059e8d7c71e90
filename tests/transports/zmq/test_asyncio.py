"""The same in asyncio, in every mode."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import aio
from tests.transports.zmq.helpers import STRANGER, Sides, client_keys


def run(program: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(program, 20))


def test_subscriber_gets_what_is_published(sides: Sides) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(sides.server) as server, aio.MsgbusContext(sides.client) as client:
            publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera")
            await publisher.wait_for_subscribers(1, timeout=5)
            for number in range(300):
                publisher.publish(({"n": number}, b"blob"))
            received = [await subscriber.recv(timeout=5) for _ in range(300)]
            assert [envelope.meta_data["n"] for envelope in received] == list(range(300))
            assert {(envelope.name, envelope.blob) for envelope in received} == {("camera1", b"blob")}

    run(main())


def test_requests_are_answered_when_many_tasks_ask(sides: Sides) -> None:
    async def serve(service: aio.Service) -> None:
        async for request in service:
            service.response(request)

    async def main() -> None:
        async with aio.MsgbusContext(sides.server) as server, aio.MsgbusContext(sides.client) as client:
            serving = asyncio.create_task(serve(server.new_service("echo")))
            requesters = [client.get_service("echo") for _ in range(3)]
            asked = [requesters[n % 3].request({"n": n}, timeout=10) for n in range(30)]
            replies = await asyncio.gather(*asked)
            assert [reply.meta_data["n"] for reply in replies] == list(range(30))
            server.close()
            await serving

    run(main())


def test_cancelled_recv_loses_no_message(plain_sides: Sides) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(plain_sides.server) as server, aio.MsgbusContext(plain_sides.client) as client:
            publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
            await publisher.wait_for_subscribers(1, timeout=5)
            received = []
            for number in range(200):
                waiting = asyncio.create_task(subscriber.recv())
                await asyncio.to_thread(publisher.publish, {"n": number})
                waiting.cancel()
                done, _ = await asyncio.wait([waiting])
                received += [task.result() for task in done if not task.cancelled()]
            while len(received) < 200:
                received.append(await subscriber.recv(timeout=5))
            assert sorted(envelope.meta_data["n"] for envelope in received) == list(range(200))

    run(main())


def test_two_publishers_of_a_socket_both_learn_of_their_subscribers(sides: Sides) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(sides.server) as server, aio.MsgbusContext(sides.client) as client:
            publishers = [server.new_publisher(topic) for topic in ("camera1", "other")]
            waiting = [asyncio.create_task(publisher.wait_for_subscribers(1, timeout=5)) for publisher in publishers]
            subscribers = [client.new_subscriber(topic) for topic in ("camera1", "other")]
            await asyncio.gather(*waiting)
            assert len(subscribers) == 2

    run(main())


def test_recv_raises_after_its_seconds_when_nothing_comes(plain_sides: Sides) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(plain_sides.client) as client:
            subscriber = client.new_subscriber("camera1")
            with pytest.raises(mb.NoMessage):
                await subscriber.recv(timeout=0)
            with pytest.raises(mb.ReceiveTimeout, match=r"within 0\.01 s"):
                await subscriber.recv(timeout=0.01)

    run(main())


def test_waiting_recv_ends_with_an_error_when_the_endpoint_is_closed(plain_sides: Sides) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(plain_sides.client) as client:
            subscriber = client.new_subscriber("camera1")
            waiting = asyncio.create_task(subscriber.recv())
            asyncio.get_running_loop().call_later(0.02, subscriber.close)
            with pytest.raises(mb.MessageBusError, match="subscriber camera1 is closed"):
                await waiting

    run(main())


def test_iteration_ends_when_another_thread_closes_the_context(plain_sides: Sides) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(plain_sides.client) as client:
            subscriber = client.new_subscriber("camera1")
            closing = asyncio.create_task(asyncio.to_thread(subscriber.close))
            assert [envelope async for envelope in subscriber] == []
            await closing

    run(main())


def test_lost_reply_is_never_the_reply_to_the_next_request(sides: Sides) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(sides.server) as server, aio.MsgbusContext(sides.client) as client:
            service, requester = server.new_service("echo"), client.get_service("echo")
            asking = asyncio.create_task(requester.request({"n": "old"}))
            request = await service.recv(timeout=5)
            asking.cancel()
            await asyncio.wait([asking])
            service.response(request)
            asking = asyncio.create_task(requester.request({"n": "new"}, timeout=5))
            service.response(await service.recv(timeout=5))
            assert (await asking).meta_data == {"n": "new"}

    run(main())


def test_refused_client_gets_the_reason(make_sides: Any) -> None:
    sides = make_sides("allow")
    sides.client["camera1"] |= client_keys(STRANGER)

    async def main() -> None:
        async with aio.MsgbusContext(sides.server) as server, aio.MsgbusContext(sides.client) as client:
            publisher = server.new_publisher("camera1")
            subscriber = client.new_subscriber("camera1")
            with pytest.raises(mb.MessageBusAuthenticationFailed, match="allowed_clients"):
                await subscriber.recv(timeout=5)
            publisher.close()

    run(main())
