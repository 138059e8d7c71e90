"""Blobs and typed messages over real sockets."""

import msgspec
import pytest

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import Sides

Pair = tuple[mb.Publisher, mb.MsgbusContext]

SIZES = (0, 1, 1000, 128 * 1024, 3_000_000)


class Reading(msgspec.Struct):
    n: int


@pytest.fixture
def bus(plain_sides: Sides, opened: Open) -> mb.MsgbusContext:
    plain_sides.server.update(plain_sides.client)
    return opened(plain_sides.server)


def exchange(bus: mb.MsgbusContext, message: object) -> mb.MsgEnvelope[object]:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish(message)
    envelope: mb.MsgEnvelope[object] = subscriber.recv(5000)
    return envelope


@pytest.mark.parametrize("size", SIZES)
def test_blob_arrives_as_bytes_when_it_is_alone(bus: mb.MsgbusContext, size: int) -> None:
    envelope = exchange(bus, b"x" * size)
    assert envelope.meta_data is None
    assert envelope.blob == b"x" * size
    assert type(envelope.blob) is bytes


@pytest.mark.parametrize("size", SIZES)
def test_blob_arrives_beside_metadata(bus: mb.MsgbusContext, size: int) -> None:
    envelope = exchange(bus, ({"n": 1}, b"x" * size))
    assert (envelope.meta_data, envelope.blob) == ({"n": 1}, b"x" * size)


def test_blobs_arrive_as_a_list_in_their_order_when_there_are_several(bus: mb.MsgbusContext) -> None:
    blobs = [b"one", b"", b"three" * 100_000]
    envelope = exchange(bus, (blobs[0], {"n": 1}, *blobs[1:]))
    assert envelope.blob == blobs
    assert [bytes(view) for view in envelope.views] == blobs


def test_255_parts_arrive(bus: mb.MsgbusContext) -> None:
    blobs = [bytes([number]) for number in range(254)]
    assert exchange(bus, ({}, *blobs)).blob == blobs


def test_view_shares_the_memory_of_what_was_received(bus: mb.MsgbusContext) -> None:
    envelope = exchange(bus, ({"n": 1}, bytes(3_000_000)))
    first, second = envelope.view, envelope.view
    assert first is not None
    assert second is not None
    assert first.readonly
    assert first.obj is second.obj
    assert first.nbytes == 3_000_000


def test_array_arrives_with_its_bytes(bus: mb.MsgbusContext) -> None:
    numpy = pytest.importorskip("numpy")
    frame = numpy.arange(600_000, dtype=numpy.uint8).reshape(400, 500, 3)
    envelope = exchange(bus, ({"shape": list(frame.shape)}, frame))
    received = numpy.frombuffer(envelope.view, numpy.uint8).reshape(frame.shape)
    assert (received == frame).all()


def test_typed_subscriber_gets_its_type_and_refuses_what_does_not_fit(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1", Reading)
    publisher.wait_for_subscribers(1, 5000)
    for message in ({"n": "one"}, b"blob", Reading(2)):
        publisher.publish(message)
    assert subscriber.recv(5000).meta_data == Reading(2)
    assert (subscriber.stats.received, subscriber.stats.refused, subscriber.stats.malformed) == (1, 2, 0)
