"""Connections that are no peers: bare connects, garbage, HTTP; and a publisher that never notices."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import eis.msgbus as mb
from eis.msgbus.transports.zmq.queues import _io_thread_answers
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import Sides, running, tcp_sides, until


@contextlib.contextmanager
def listener(port: int, says: bytes) -> Iterator[Callable[[], int]]:
    """Listen where a publisher should be, say something to everybody, and hang up; count them."""
    stop = threading.Event()
    seen: list[int] = []

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), server.accept()[0] as caller:
                seen.append(1)
                caller.sendall(says)
                caller.settimeout(0.2)
                caller.recv(100)

    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.05)
        with running(serve):
            yield lambda: len(seen)
            stop.set()


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5, b"\xff" * 200, b"SSH-2.0-x\r\n", b""])
def test_subscriber_recovers_when_a_stranger_had_the_port(
    free_ports: Callable[[int], list[int]], opened: Open, says: bytes
) -> None:
    ports = free_ports(2)
    sides = tcp_sides(ports, "tcp")
    subscriber = opened(sides.client).new_subscriber("camera1")
    with listener(ports[0], says) as seen:
        until(seen)
        with contextlib.suppress(mb.MessageBusAuthenticationFailed), pytest.raises(mb.ReceiveTimeout):
            subscriber.recv(20)
    publisher = opened(sides.server).new_publisher("camera1")
    publisher.wait_for_subscribers(1, 10000)
    publisher.publish({"n": 1})
    with contextlib.suppress(mb.MessageBusAuthenticationFailed):
        assert subscriber.recv(5000).meta_data == {"n": 1}
        return
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_request_reaches_the_service_when_a_stranger_had_the_port(
    free_ports: Callable[[int], list[int]], opened: Open
) -> None:
    ports = free_ports(2)
    sides = tcp_sides(ports, "tcp")
    requester = opened(sides.client).get_service("echo")
    with listener(ports[1], b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5) as seen:
        requester.request({"n": 1})
        until(seen)
        with pytest.raises(mb.ReceiveTimeout):
            requester.recv(20)
    service = opened(sides.server).new_service("echo")
    with running(lambda: service.response(service.recv(15000))):
        assert requester.recv(15000).meta_data == {"n": 1}


@pytest.mark.parametrize("mode", ["tcp", "allow"])
def test_idle_publisher_does_not_freeze_when_768_strangers_connect(
    make_sides: Callable[[str], Sides], opened: Open, mode: str
) -> None:
    sides = make_sides(mode)
    publisher = opened(sides.server).new_publisher("camera1")
    address = ("127.0.0.1", sides.server["zmq_tcp_publish"]["port"])
    for _ in range(768):
        socket.create_connection(address, timeout=5).close()
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_context_closes_in_time_while_strangers_connect(make_sides: Callable[[str], Sides]) -> None:
    sides = make_sides("tcp")
    stop = threading.Event()

    def attack() -> None:
        address = ("127.0.0.1", sides.server["zmq_tcp_publish"]["port"])
        while not stop.is_set():
            with contextlib.suppress(OSError):
                socket.create_connection(address, timeout=1).close()

    with running(attack):
        for _ in range(5):
            with mb.MsgbusContext(sides.server) as server:
                publisher = server.new_publisher("camera1")
                until(lambda publisher=publisher: publisher.stats.refused > 20)  # type: ignore[misc]
        stop.set()


def test_who_publishes_may_wait_for_libzmq_while_strangers_come_and_go(
    free_ports: Callable[[int], list[int]], opened: Open
) -> None:
    """libzmq waits for the supervisor, once 2000 events are unread; the supervisor does not wait for who publishes."""
    ports = free_ports(2)
    publisher = opened(tcp_sides(ports, "tcp").server).new_publisher("camera1")
    used = publisher._channel._socket  # type: ignore[attr-defined]
    with used.lock:
        for _ in range(3000):
            socket.create_connection(("127.0.0.1", ports[0]), 2).close()
        assert _io_thread_answers(used.link.socket.context)
    until(lambda: used.link.tell_at is None)
