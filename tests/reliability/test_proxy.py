"""The proxy does the harm that it is told to do, and no other."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.reliability.proxy import Proxy, swallow
from tests.transports.zmq.helpers import until

Pair = tuple[Proxy, socket.socket, socket.socket]


@pytest.fixture
def pair(proxy: Callable[[int], Proxy]) -> Iterator[Pair]:
    """A proxy, and the two ends of a connection through it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        between = proxy(listener.getsockname()[1])
        with socket.create_connection(("127.0.0.1", between.port), 5) as client, listener.accept()[0] as server:
            until(lambda: between._pairs)
            client.settimeout(5)
            server.settimeout(5)
            yield between, client, server


def test_proxy_carries_and_records_both_directions(pair: Pair) -> None:
    between, client, server = pair
    recorded: list[bytes] = []
    between.record = recorded.append
    client.sendall(b"up")
    assert server.recv(10) == b"up"
    server.sendall(b"down")
    assert client.recv(10) == b"down"
    assert (recorded, between.connections) == ([b"up", b"down"], 1)


def test_proxy_swallows_and_goes_on(pair: Pair) -> None:
    between, client, server = pair
    swallowed: list[bytes] = []

    def lose(data: bytes) -> bytes:
        swallowed.append(data)
        return swallow(data)

    between.to_client = lose
    server.sendall(b"lost")
    until(lambda: swallowed)
    between.to_client = bytes.upper
    server.sendall(b"kept")
    assert client.recv(10) == b"KEPT"


def test_proxy_keeps_the_rate(pair: Pair) -> None:
    between, client, server = pair
    between.rate = 100_000
    begun = time.monotonic()
    server.sendall(bytes(30_000))
    got = 0
    while got < 30_000:
        got += len(client.recv(30_000))
    assert 0.25 < time.monotonic() - begun < 5


def test_client_is_told_that_the_server_says_nothing_more_while_it_is_heard(pair: Pair) -> None:
    between, client, server = pair
    between.half_close()
    assert client.recv(10) == b""
    client.sendall(b"still here")
    assert server.recv(10) == b"still here"


def test_both_ends_are_reset(pair: Pair) -> None:
    between, client, server = pair
    between.reset()
    for each in (client, server):
        with pytest.raises(ConnectionResetError):
            each.recv(10)


def test_proxy_hangs_up_when_nobody_listens_behind_it(proxy: Callable[[int], Proxy], tcp_port: int) -> None:
    between = proxy(tcp_port)
    with socket.create_connection(("127.0.0.1", between.port), 5) as client:
        assert client.recv(10) == b""
