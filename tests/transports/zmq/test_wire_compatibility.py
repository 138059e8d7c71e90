"""Bare ZeroMQ peers that behave as the original library: its frames in both directions."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD, Sides, until

ALL: list[dict[str, Any]] = json.loads(Path("tests/vectors/reference-frames.json").read_text(encoding="utf-8"))
VECTORS = [vector for vector in ALL if not vector["name"].endswith("-on-the-wire")]


@pytest.fixture
def bus(plain_sides: Sides, opened: Open) -> mb.MsgbusContext:
    return opened(plain_sides.client)


@pytest.fixture
def server(plain_sides: Sides, opened: Open) -> mb.MsgbusContext:
    return opened(plain_sides.server)


def frames_of(vector: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(frame) for frame in vector["frames"]]


def receive_published(publisher: "zmq.Socket[bytes]", subscriber: mb.Subscriber[Any], frames: list[bytes]) -> Any:
    """Publish until received: a bare PUB does not know when its subscriber is there."""

    def attempt() -> Any:
        publisher.send_multipart(frames)
        try:
            return subscriber.recv(20)
        except mb.ReceiveTimeout:
            return None

    return until(attempt)


def test_subscriber_reads_every_message_of_the_original(plain_sides: Sides, bus: mb.MsgbusContext, raw: Raw) -> None:
    publisher = raw(zmq.PUB, bind=plain_sides.publisher)
    subscriber = bus.new_subscriber("")
    receive_published(publisher, subscriber, GOOD)
    for vector in VECTORS:
        publisher.send_multipart(frames_of(vector))
    publisher.send_multipart([b"camera1\0", b"\0", b"\1", b'{"last":1}'])
    received = []
    while (envelope := subscriber.recv(5000)).meta_data != {"last": 1}:
        received.append(envelope)
    received = [envelope for envelope in received if envelope.meta_data != {"n": 1}]
    names = [frames_of(vector)[0].decode().removesuffix("\0") for vector in VECTORS]
    assert [envelope.name for envelope in received] == names
    assert subscriber.stats.malformed == 0


@pytest.mark.parametrize("name", [b"camera1\0", b"camera1"])
def test_name_is_read_with_and_without_its_nul(
    plain_sides: Sides, bus: mb.MsgbusContext, raw: Raw, name: bytes
) -> None:
    publisher = raw(zmq.PUB, bind=plain_sides.publisher)
    subscriber = bus.new_subscriber("camera1")
    envelope = receive_published(publisher, subscriber, [name, *GOOD[1:]])
    assert (envelope.name, envelope.meta_data) == ("camera1", {"n": 1})


def test_bare_subscriber_gets_the_frames_of_the_original(
    plain_sides: Sides, server: mb.MsgbusContext, raw: Raw
) -> None:
    publisher = server.new_publisher("camera1")
    subscriber = raw(zmq.SUB, connect=plain_sides.publisher, subscribe=b"camera1")
    publisher.wait_for_subscribers(1, 5000)
    for message, frames in (
        ({"hello": 123}, [b"camera1\0", b"\0", b"\1", b'{"hello":123}']),
        (b"HELLO", [b"camera1\0", b"\1", b"\1", b"HELLO"]),
        (({"hello": 123}, b"HELLO"), [b"camera1\0", b"\0", b"\2", b'{"hello":123}', b"HELLO"]),
        (({"i": 1}, b"one", b"two\0"), [b"camera1\0", b"\0", b"\3", b'{"i":1}', b"one", b"two\0"]),
    ):
        publisher.publish(message)
        assert subscriber.recv_multipart() == frames


def test_published_vectors_carry_the_values_of_the_original(
    plain_sides: Sides, server: mb.MsgbusContext, raw: Raw
) -> None:
    publisher = server.new_publisher("camera1")
    subscriber = raw(zmq.SUB, connect=plain_sides.publisher, subscribe=b"camera1")
    publisher.wait_for_subscribers(1, 5000)
    for name in ("dict", "blob", "dict-and-blob", "blob-before-dict", "dict-and-three-blobs", "two-dicts-merged"):
        vector = next(vector for vector in VECTORS if vector["name"] == name)
        publisher.publish(ast.literal_eval(vector["python"]))
        assert subscriber.recv_multipart() == frames_of(vector)


def test_request_on_the_wire_is_exactly_the_originals(plain_sides: Sides, bus: mb.MsgbusContext, raw: Raw) -> None:
    router = raw(zmq.ROUTER, bind=plain_sides.service)
    requester = bus.get_service("echo")
    requester.request(({"hello": 123}, b"HELLO"))
    identity, *request = router.recv_multipart()
    assert request == [b"", b"echo\0", b"\0", b"\2", b'{"hello":123}', b"HELLO"]
    router.send_multipart([identity, b"", b"echo\0", b"\1", b"\1", b"reply"])
    assert requester.recv(5000).blob == b"reply"


def test_bare_service_answers_our_requester(plain_sides: Sides, bus: mb.MsgbusContext, raw: Raw) -> None:
    service = raw(zmq.REP, bind=plain_sides.service)
    requester = bus.get_service("echo")
    for number in range(3):
        requester.request({"n": number})
        service.send_multipart(service.recv_multipart())
        assert requester.recv(5000).meta_data == {"n": number}


@pytest.mark.parametrize("name", [b"echo\0", b"echo"])
def test_our_service_answers_a_bare_requester(
    plain_sides: Sides, server: mb.MsgbusContext, raw: Raw, name: bytes
) -> None:
    service = server.new_service("echo")
    requester = raw(zmq.REQ, connect=plain_sides.service)
    for number in range(3):
        requester.send_multipart([name, b"\0", b"\2", b'{"n":%d}' % number, b"blob"])
        request = service.recv(5000)
        assert (request.name, request.meta_data, request.blob) == ("echo", {"n": number}, b"blob")
        service.response(request)
        assert requester.recv_multipart() == [b"echo\0", b"\0", b"\2", b'{"n":%d}' % number, b"blob"]
