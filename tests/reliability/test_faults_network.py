"""C, of the network: strangers on the port, and connections that break, end or say nothing."""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from tests.reliability.conftest import Effort, Record
from tests.reliability.figures import milliseconds
from tests.reliability.history import History
from tests.reliability.oracle import Good
from tests.reliability.proxy import Proxy, swallow
from tests.reliability.streams import Make, flowing, proxied, taking
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import tcp_sides, until
from tests.transports.zmq.test_hostile_connections import listener

Ports = Callable[[int], list[int]]

# C5: strangers on the port.

STRANGERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5,
    "garbage": b"\xff" * 200,
    "SSH": b"SSH-2.0-x\r\n",
    "hangs up": b"",
}


def test_subscriber_finds_its_publisher_after_strangers_had_the_port(
    free_ports: Ports, effort: Effort, record: Record
) -> None:
    times, attempts = [], effort(4, 60)
    for number in range(attempts):
        name = list(STRANGERS)[number % len(STRANGERS)]
        sides = tcp_sides(free_ports(2), "tcp")
        port = sides.server["zmq_tcp_publish"]["port"]
        with mb.MsgbusContext(sides.client) as client, mb.MsgbusContext(sides.server) as server:
            subscriber = client.new_subscriber("camera1")
            with listener(port, STRANGERS[name]) as seen:
                until(seen)
            publisher, begun = server.new_publisher("camera1"), time.monotonic()
            publisher.wait_for_subscribers(1, 20000)
            times.append(time.monotonic() - begun)
            publisher.publish({"n": number})
            assert past_refusals(subscriber) == {"n": number}
    record("C5", "strangers", attempts=attempts, failures=[], seen=f"back after {milliseconds(times)}")
    assert max(times) < 10


def past_refusals(subscriber: mb.Subscriber[Any]) -> object:
    with contextlib.suppress(mb.MessageBusAuthenticationFailed):
        return subscriber.recv(10000).meta_data
    return subscriber.recv(10000).meta_data


def test_subscriber_finds_its_publisher_after_one_without_keys_had_the_port(
    free_ports: Ports, effort: Effort, record: Record
) -> None:
    times, attempts = [], effort(2, 30)
    for number in range(attempts):
        ports = free_ports(2)
        sides = tcp_sides(ports, "allow")
        with mb.MsgbusContext(sides.client) as client, mb.MsgbusContext(sides.server) as server:
            subscriber = client.new_subscriber("camera1")
            with mb.MsgbusContext(tcp_sides(ports, "tcp").server) as impostor:
                false = impostor.new_publisher("camera1")
                until(lambda subscriber=subscriber: subscriber.status.state == "denied")  # type: ignore[misc]
                false.publish({"n": "false"})
            publisher, begun = server.new_publisher("camera1"), time.monotonic()
            publisher.wait_for_subscribers(1, 20000)
            times.append(time.monotonic() - begun)
            publisher.publish({"n": number})
            assert past_refusals(subscriber) == {"n": number}
    record("C5", "without keys", attempts=attempts, failures=[], seen=f"back after {milliseconds(times)}")
    assert max(times) < 10


def test_bare_socket_never_comes_back_after_a_stranger_had_the_port(tcp_port: int, raw: Raw, opened: Open) -> None:
    """It is what the supervisor is for; the bus's own subscriber waits beside it."""
    sides = tcp_sides([tcp_port, tcp_port], "tcp")
    subscriber = opened(sides.client).new_subscriber("camera1")
    with listener(tcp_port, STRANGERS["HTTP"]) as seen:
        bare = raw(zmq.SUB, connect=sides.publisher, subscribe=b"")
        until(lambda: seen() >= 2)
    publisher = opened(sides.server).new_publisher("camera1")
    publisher.wait_for_subscribers(1, 10000)
    with contextlib.suppress(mb.MessageBusAuthenticationFailed, mb.NoMessage):
        subscriber.recv(0)
    with Good(publisher, subscriber) as good:
        until(lambda: good.received >= 200)
        with pytest.raises(zmq.Again):
            bare.recv(zmq.NOBLOCK)


# C7: broken networks.


def flip(data: bytes) -> bytes:
    """Change one bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


Harm = Callable[[Proxy], None]
HARMS: dict[str, Harm] = {
    "reset": Proxy.reset,
    "half-closed": Proxy.half_close,
    "a bit flipped": lambda proxy: setattr(proxy, "to_client", flip),
    "half of the bytes lost": lambda proxy: setattr(proxy, "to_client", lambda data: data[: len(data) // 2]),
}


def resumes(publisher: mb.Publisher, history: History) -> None:
    """Wait until something arrives that is published from now on."""
    sent = publisher.stats.sent
    until(lambda: history.last >= sent)


@pytest.mark.parametrize("name", HARMS)
def test_connection_is_made_anew_and_nothing_wrong_arrives_when_the_network_breaks_it(
    make_sides: Make, proxy: Callable[[int], Proxy], opened: Open, effort: Effort, record: Record, name: str
) -> None:
    sides, history, times, attempts = make_sides("allow"), History(), [], effort(3, 60)
    between, config = proxied(sides, proxy)
    publisher, subscriber = opened(sides.server).new_publisher("camera1"), opened(config).new_subscriber("camera1")
    with flowing(publisher), taking(subscriber, history):
        for _ in range(attempts):
            until(lambda: history.received and subscriber.status.state == "connected")
            connections, begun = between.connections, time.monotonic()
            HARMS[name](between)
            until(lambda connections=connections: between.connections > connections)  # type: ignore[misc]
            between.to_client = bytes
            resumes(publisher, history)
            times.append(time.monotonic() - begun)
    seen = f"back after {milliseconds(times)}; {history.lost} lost of {history.received + history.lost:,}"
    record("C7", name, attempts=attempts, failures=history.problems, seen=seen)


def test_silence_of_the_network_is_noticed_in_time(
    make_sides: Make, proxy: Callable[[int], Proxy], opened: Open, effort: Effort, record: Record
) -> None:
    sides, history, times, attempts = make_sides("allow"), History(), [], effort(3, 60)
    between, config = proxied(sides, proxy)
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(config | {"stalled_after": 300}).new_subscriber("camera1")
    with flowing(publisher), taking(subscriber, history):
        for _ in range(attempts):
            until(lambda: history.received and subscriber.status.state == "connected")
            between.to_client, begun = swallow, time.monotonic()
            until(lambda: subscriber.status.state == "stalled")
            times.append(time.monotonic() - begun)
            between.to_client = bytes
            between.reset()
            resumes(publisher, history)
    seen = f"stalled after {milliseconds(times)}, of 300 ms"
    record("C7", "black hole", attempts=attempts, failures=history.problems, seen=seen)
    assert max(times) < 5


def test_frame_arrives_in_its_own_time_over_a_slow_link(
    make_sides: Make, proxy: Callable[[int], Proxy], opened: Open, effort: Effort, record: Record
) -> None:
    sides, frame, frames = make_sides("allow"), os.urandom(6_220_800), effort(1, 5)
    between, config = proxied(sides, proxy)
    between.rate = 1_000_000 if effort.torture else 4_000_000
    publisher, subscriber = opened(sides.server).new_publisher("camera1"), opened(config).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    begun = time.monotonic()
    for _ in range(frames):
        publisher.publish(frame)
    failures = [number for number in range(frames) if subscriber.recv(60000).blob != frame]
    seconds = (time.monotonic() - begun) / frames
    seen = f"{seconds:.1f} s each, of {len(frame) / between.rate:.1f} s; {between.connections} connection"
    record("C7", f"6.2 MB at {between.rate / 1e6:g} MB/s", attempts=frames, failures=failures, seen=seen)
    assert between.connections == 1
