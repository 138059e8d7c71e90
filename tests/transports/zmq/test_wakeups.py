"""Whoever waits is woken, although something else took the news away from the socket's descriptor in the meantime."""

import asyncio
import select
import sys
from collections.abc import Callable
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._waiting.loops import give_way
from eis.msgbus.transports.zmq.queues import MOST
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import Sides, until

DEADLINE = 5.0


def link_of(endpoint: Any) -> Any:
    """Return the link of a service or a subscriber, or that of a publisher's socket."""
    channel = endpoint._channel
    return channel._socket.link if isinstance(endpoint, mb.Publisher | aio.Publisher) else channel.link


def arrived(endpoint: Any) -> None:
    """Wait until something has come, and leave it to be noticed."""
    assert select.select([link_of(endpoint).fd], [], [], DEADLINE)[0]


def look_when_it_sends(endpoint: Any, first: Callable[[], object]) -> None:
    """Have libzmq look for what has come while something is sent; it does so by itself, once a millisecond at most."""
    channel, looked = endpoint._channel, list[bool]()
    send = channel._send

    def look_and_send(*frame: Any, **options: Any) -> Any:
        if not looked:
            looked.append(True)
            first()
            arrived(endpoint)
            link_of(endpoint).socket.get(zmq.EVENTS)
        return send(*frame, **options)

    channel._send = look_and_send


async def meta_data(service: aio.Service) -> Any:
    return (await service.recv(DEADLINE)).meta_data


async def waits(endpoint: Any) -> None:
    while not endpoint._waiters or not endpoint._watch._waiting:
        await give_way()


def test_request_that_comes_while_a_task_answers_another_is_received(plain_sides: Sides, raw: Raw) -> None:
    first, second = (raw(zmq.REQ, connect=plain_sides.service) for _ in range(2))
    request = [b"echo\0", b"\0", b"\1", b"{}"]

    async def main() -> None:
        async with aio.MsgbusContext(plain_sides.server) as bus:
            service = bus.new_service("echo")
            for requester in (first, second, first):  # connections that are new tell more than that there is a request
                requester.send_multipart(request)
                await service.recv(DEADLINE)
                if service.stats.sent != 2:
                    service.response({})
                    requester.recv_multipart()
            waiting = asyncio.create_task(meta_data(service))
            await waits(service)
            look_when_it_sends(service, lambda: second.send_multipart(request))
            service.response({})
            assert await waiting == {}

    asyncio.run(main())


def test_request_that_comes_while_another_thread_answers_wakes_who_has_just_looked(
    plain_sides: Sides, raw: Raw, opened: Open
) -> None:
    first, second = (raw(zmq.REQ, connect=plain_sides.service) for _ in range(2))
    request = [b"echo\0", b"\0", b"\1", b"{}"]
    service = opened(plain_sides.server).new_service("echo")
    for requester in (second, first):  # connections that are new tell more than that there is a request
        requester.send_multipart(request)
        service.recv(5000)
        if requester is second:
            service.response({})
            requester.recv_multipart()
    channel: Any = service._channel
    assert channel.receive() is None  # another thread's look; it waits next
    look_when_it_sends(service, lambda: second.send_multipart(request))
    service.response({})
    assert select.select(channel.filenos(), [], [], 0)[0]


@pytest.mark.parametrize("gathers", [False, True])
def test_subscriber_that_comes_while_another_topic_is_published_is_noticed(
    gathers: bool, plain_sides: Sides, raw: Raw
) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(plain_sides.server) as bus, aio.MsgbusContext(plain_sides.client) as client:
            one, other = bus.new_publisher("camera1"), bus.new_publisher("other")
            subscriber = client.new_subscriber("camera1")
            late = raw(zmq.SUB, connect=plain_sides.publisher, subscribe=b"othe")
            await one.wait_for_subscribers(1, DEADLINE)
            await other.wait_for_subscribers(1, DEADLINE)
            while subscriber.stats.form in ("", "plain"):
                one.publish({})
                await subscriber.recv(DEADLINE)
            waiting = asyncio.create_task(other.wait_for_subscribers(2, DEADLINE))
            await waits(other)
            channel: Any = one._channel
            with channel._lock:
                while channel._socket.queue.messages < MOST:  # or else the peer tells of every message that it has read
                    channel._socket.queue.lengthen(1)
            channel._socket.look_at = sys.maxsize
            channel._hurries = gathers and channel._socket.may_gather()
            look_when_it_sends(one, lambda: late.subscribe(b"other"))
            one.publish({})
            until(lambda: channel._socket.gatherer is None)
            await waiting

    asyncio.run(main())


def test_message_that_comes_before_the_supervisor_looks_is_received(plain_sides: Sides, opened: Open) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    channel: Any = subscriber._channel
    while subscriber.stats.form in ("", "plain") or not channel._queue.messages:  # until then the supervisor reads too
        publisher.publish({"n": 0})
        assert subscriber.recv(5000).meta_data == {"n": 0}
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)
    publisher.publish({"n": 1})
    until(lambda: link_of(subscriber).socket.get(zmq.EVENTS) & zmq.POLLIN)  # and so the descriptor is quiet
    link_of(subscriber).touch()
    assert subscriber.recv(1000).meta_data == {"n": 1}
