"""Subscribers that want the newest messages: what they get, what they count, and how their thread ends."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._channel import Closed, Counts
from eis.msgbus._endpoint.newest import NewestChannel
from tests.hub import new_hub, raw
from tests.meeting import until


class Number(msgspec.Struct):
    n: int


@pytest.fixture
def config() -> dict[str, Any]:
    return new_hub()


@pytest.fixture
def bus(config: dict[str, Any]) -> Iterator[mb.MsgbusContext]:
    with mb.MsgbusContext(config) as bus:
        yield bus


def taken(subscriber: Any) -> int:
    return int(subscriber._channel._taken)


@pytest.mark.parametrize(
    ("how", "numbers"), [({"keep": "latest"}, [9]), ({"keep_last": 1}, [9]), ({"keep_last": 3}, [7, 8, 9])]
)
def test_reader_gets_the_newest_and_counts_what_it_skipped(
    bus: mb.MsgbusContext, how: dict[str, Any], numbers: list[int]
) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t", **how)
    for number in range(10):
        publisher.publish({"n": number})
    until(lambda: taken(subscriber) == 10)
    assert [subscriber.recv(1000).meta_data["n"] for _ in numbers] == numbers
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)
    assert subscriber.stats == mb.Stats("subscriber t", received=len(numbers), skipped=10 - len(numbers))


def test_kept_messages_go_on_giving_way_while_one_is_handled(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t", keep_last=2)
    for number in range(2):
        publisher.publish({"n": number})
    until(lambda: taken(subscriber) == 2)
    assert subscriber.recv(1000).meta_data == {"n": 0}
    for number in range(2, 6):
        publisher.publish({"n": number})
    until(lambda: taken(subscriber) == 6)
    assert [subscriber.recv(1000).meta_data["n"] for _ in range(2)] == [4, 5]


def test_reader_that_waits_gets_every_message(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t", keep="latest")
    for number in range(50):
        publisher.publish({"n": number})
        assert subscriber.recv(5000).meta_data == {"n": number}
    assert subscriber.stats.skipped == 0


def test_metadata_have_the_type_that_was_asked_for(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t", Number, keep_last=5)
    publisher.publish({"n": "one"})
    publisher.publish({"n": 2})
    assert subscriber.recv(5000).meta_data == Number(2)
    assert (subscriber.stats.refused, subscriber.stats.received) == (1, 1)


def test_asyncio_reader_gets_the_newest(config: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(config) as bus:
            publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t", keep="latest")
            for number in range(10):
                publisher.publish({"n": number})
            await asyncio.to_thread(until, lambda: taken(subscriber) == 10)
            assert (await subscriber.recv(5)).meta_data == {"n": 9}
            waiting = asyncio.create_task(subscriber.recv(5))
            await asyncio.to_thread(publisher.publish, {"n": 10})
            assert (await waiting).meta_data == {"n": 10}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"keep": "oldest"}, "keep: expected 'latest', and then no keep_last, got 'oldest' and None"),
        ({"keep": "latest", "keep_last": 2}, "keep: expected 'latest', and then no keep_last, got 'latest' and 2"),
        ({"keep_last": 0}, "keep_last: expected a number of messages, 1 or more, got 0"),
        ({"keep_last": True}, "keep_last: expected a number of messages, 1 or more, got True"),
        ({"keep_last": "all"}, "keep_last: expected a number of messages, 1 or more, got 'all'"),
    ],
)
def test_what_has_no_meaning_is_an_error_before_anything_is_opened(
    bus: mb.MsgbusContext, how: dict[str, Any], problem: str
) -> None:
    with pytest.raises(mb.MessageBusError) as caught:
        bus.new_subscriber("t", **how)
    assert str(caught.value) == problem
    assert bus.stats() == ()


def test_several_readers_share_what_is_kept(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t", keep_last=100)
    seen: list[int] = []
    readers = [
        threading.Thread(target=lambda: seen.extend(each.meta_data["n"] for each in subscriber)) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    for number in range(90):
        publisher.publish({"n": number})
    until(lambda: len(seen) == 90)
    subscriber.close()
    for reader in readers:
        reader.join(10)
    assert sorted(seen) == list(range(90))


def test_close_ends_the_thread_and_whoever_waits(bus: mb.MsgbusContext) -> None:
    subscriber = bus.new_subscriber("t", keep="latest")
    channel: Any = subscriber._channel
    closing = threading.Timer(0.05, subscriber.close)
    closing.start()
    with pytest.raises(mb.MessageBusError, match="subscriber t is closed"):
        subscriber.recv()
    closing.join()
    assert not channel._thread.is_alive()
    with pytest.raises(mb.MessageBusError, match="subscriber t is closed"):
        subscriber.recv(0)


def test_publishing_into_it_is_refused(config: dict[str, Any]) -> None:
    with raw(config) as transport:
        channel = NewestChannel(transport.subscriber("t"), 1)
        with pytest.raises(mb.MessageBusError, match="a subscriber cannot send"):
            channel.send([])
        channel.close()
        with pytest.raises(Closed):
            channel.receive()


class Faulty:
    """Be a channel that raises what it was given, then has nothing."""

    status: Any = None

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.looked = threading.Event()

    def receive(self) -> list[Any]:
        if self.faults:
            raise self.faults.pop(0)
        self.looked.set()
        return []

    def filenos(self) -> tuple[int, ...]:
        return ()

    def wake(self) -> None:
        pass

    def counts(self) -> Counts:
        return Counts()

    def close(self) -> None:
        pass


def test_fault_reaches_the_reader_once_and_the_thread_goes_on() -> None:
    inner: Any = Faulty(mb.MessageBusAuthenticationFailed("refused"))
    channel = NewestChannel(inner, 1)
    until(lambda: channel._fault is not None)
    with pytest.raises(mb.MessageBusAuthenticationFailed):
        channel.receive()
    assert inner.looked.wait(10)
    assert channel.receive() == ()
    channel.close()


def test_every_call_raises_what_ended_the_thread() -> None:
    inner: Any = Faulty(ZeroDivisionError())
    channel = NewestChannel(inner, 1)
    until(lambda: not channel._thread.is_alive())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            channel.receive()
    channel.close()


def test_thread_ends_itself_when_it_closes_the_channel() -> None:
    class Last(Faulty):
        def receive(self) -> list[Any]:
            channels[0].close()
            return []

    inner: Any = Last()
    channels: list[NewestChannel] = []
    ready, real = threading.Event(), Last.receive
    inner.receive = lambda: ready.wait(10) and real(inner)
    channels.append(NewestChannel(inner, 1))
    ready.set()
    channels[0]._thread.join(10)
    assert not channels[0]._thread.is_alive()


@pytest.mark.parametrize("end", ["", "del subscriber, bus", "bus.close()", "sys.exit()"])
def test_program_ends_when_it_forgets_its_subscriber(end: str, socket_dir: Path) -> None:
    code = f"""
import sys, eis.msgbus as mb
bus = mb.MsgbusContext({{"type": "zmq_ipc", "socket_dir": {str(socket_dir)!r}}})
subscriber = bus.new_subscriber("t", keep="latest")
{end}
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=20
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_frames_are_young_when_the_reader_takes_long_for_each(socket_dir: Path) -> None:
    """30 frames of 6.2 MB per second, and a reader who takes 0.2 seconds for each."""
    config = {"type": "zmq_ipc", "socket_dir": str(socket_dir)}
    frame, sent = bytes(1920 * 1080 * 3), 0
    with mb.MsgbusContext(config) as server, mb.MsgbusContext(config) as client:
        publisher, subscriber = server.new_publisher("t"), client.new_subscriber("t", keep="latest")
        publisher.wait_for_subscribers(1, 5000)
        behind, pause = [], threading.Event()
        for _ in range(5):
            for _ in range(6):
                publisher.publish(({"n": sent}, frame))
                sent += 1
                pause.wait(1 / 30)
            until(lambda: taken(subscriber) == sent)  # noqa: B023  # called at once
            behind.append(sent - 1 - subscriber.recv(1000).meta_data["n"])
    assert behind == [0] * 5
    assert (subscriber.stats.received, subscriber.stats.skipped) == (5, 25)
    assert publisher.stats.dropped == 0


def test_thread_ends_when_the_inner_channel_is_closed() -> None:
    class Ended(Faulty):
        def receive(self) -> Any:
            raise Closed("closed")

    channel = NewestChannel(Ended(), 1)  # type: ignore[arg-type]  # it is never sent to
    channel._thread.join(10)
    assert not channel._thread.is_alive()
    with pytest.raises(Closed):
        channel.receive()
    channel.close()
