"""The states in which libzmq gives an address up for good: each ends in a new connection, soon."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus.transports.zmq.plan import HANDSHAKE
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD, SERVER, Sides, running, until

SOON = 2.0  # seconds
NEXT_HANDSHAKE = HANDSHAKE / 1000 + SOON
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
BROKEN = b"\xff" * 9


@contextlib.contextmanager
def judge(raw: Raw, statuses: list[bytes]) -> Iterator[None]:
    """Answer each question about a client with the next status; the last one stays."""
    control = raw(zmq.REP, bind="inproc://zeromq.zap.01", rcvtimeo=50)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(zmq.Again):
                question = control.recv_multipart()
                status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
                control.send_multipart([*question[:2], status, b"", b"", b""])

    with running(serve) as thread:
        try:
            yield
        finally:
            stop.set()
            thread.join(10)  # before its socket is closed


@pytest.mark.parametrize(
    ("status", "seconds"),
    [(b"300", NEXT_HANDSHAKE), (b"400", SOON), (b"500", SOON)],  # after 300 the server says nothing more
)
def test_client_gets_in_soon_after_the_access_control_let_it(
    make_sides: Callable[[str], Sides], opened: Open, raw: Raw, status: bytes, seconds: float
) -> None:
    sides = make_sides("curve")
    statuses = [status, b"200"] if status == b"300" else [status] * 3 + [b"200"]
    options: dict[str, Any] = {"zap_domain": b"test", "curve_server": 1, "curve_secretkey": SERVER.secret.encode()}
    with judge(raw, statuses):
        publisher = raw(zmq.XPUB, **options, bind=sides.publisher)
        subscriber = opened(sides.client).new_subscriber("camera1")
        until(lambda: len(statuses) == 1)
        begun = time.monotonic()
        assert publisher.recv() == b"\1camera1"
        assert time.monotonic() - begun < seconds
        until(lambda: subscriber.status.state == "connected")
        publisher.send_multipart(GOOD)
        assert subscriber.recv(5000).meta_data == {"n": 1}


def test_connection_that_breaks_the_protocol_is_made_anew(opened: Open, tcp_port: int) -> None:
    """A cable that breaks bytes: libzmq itself gives such a peer up."""
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", tcp_port)) as server:
        server.settimeout(10)
        config = {"type": "zmq_tcp", "camera1": {"host": "127.0.0.1", "port": tcp_port}}
        subscriber = opened(config).new_subscriber("camera1")
        subscriber.on_event(lambda status: heard.append(status.state))
        begun = time.monotonic()
        for _ in range(2):
            with server.accept()[0] as peer:
                peer.settimeout(10)
                peer.sendall(GREETING + READY)
                until(lambda: "connected" in heard)
                peer.sendall(BROKEN)
                while peer.recv(100):  # until it hangs up
                    pass
    assert time.monotonic() - begun < 2 * SOON
    until(lambda: heard.count("reconnecting") > 0)


@pytest.mark.parametrize("impostor", ["tcp", "curve"])
def test_subscriber_finds_its_publisher_soon_after_another_server_had_the_port_for_long(
    make_sides: Callable[[str], Sides], opened: Open, impostor: str
) -> None:
    """Refused so often that the pause has grown to its limit."""
    sides = make_sides("curve" if impostor == "tcp" else "tcp")
    bound = {"host": "127.0.0.1", "port": sides.server["zmq_tcp_publish"]["port"]}
    keys = {"server_secret_key": SERVER.secret} if impostor == "curve" else {}
    subscriber = opened(sides.client).new_subscriber("camera1")
    with mb.MsgbusContext({"type": "zmq_tcp", "zmq_tcp_publish": {**bound, **keys}}) as other:
        wrong = other.new_publisher("camera1")
        until(lambda: subscriber.stats.refused >= 4, 20)
        assert wrong.stats.refused >= 4
    publisher = opened(sides.server).new_publisher("camera1")
    begun = time.monotonic()
    publisher.wait_for_subscribers(1, 10000)
    assert time.monotonic() - begun < SOON


def test_what_has_come_is_read_before_the_supervisor_gives_the_connection_up(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher = raw(zmq.XPUB, bind=plain_sides.publisher)
    subscriber = opened({**plain_sides.client, "native": False}).new_subscriber("camera1")
    assert publisher.recv() == b"\1camera1"
    channel: Any = subscriber._channel
    for _ in range(100):
        publisher.send_multipart(GOOD)
    with channel.lock:
        until(lambda: channel._events() & zmq.POLLIN)  # libzmq has the first frame of a message in its hand now
        channel.link.connect_anew()
    numbers: list[int] = []

    def second_came() -> bool:
        publisher.send_multipart([*GOOD[:3], b'{"n":2}'])
        with contextlib.suppress(mb.ReceiveTimeout):
            numbers.append(subscriber.recv(50).meta_data["n"])
        return numbers[-1:] == [2]

    until(second_came)
    assert numbers[0] == 1
    assert subscriber.stats.malformed == 0
