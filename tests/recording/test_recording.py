"""What is recorded is what was published: read with this library, replayed, and read with the library of MCAP."""

import itertools
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

import eis.msgbus as mb
from eis.msgbus.recording import Compression, Recorder, Recording, Replay
from eis.msgbus.recording.message import unpack
from tests.meeting import DEADLINE
from tests.recording.conftest import Recorded

FRAME = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
FRAMES = {"width": 16, "height": 12, "channels": 3, "additional_frames": [{"encoding_type": "jpeg"}]}
MESSAGES: list[tuple[str, Any]] = [
    ("camera1", ({"frame_number": 1, "größe": 2**70, "x": [1.5, None, {"deep": "\x00"}]}, b"\x00\xff" * 100)),
    ("camera1", (FRAMES | {"frame_number": 2}, FRAME.tobytes(), b"jpeg", b"")),
    ("results", {}),
    ("camera1", b"a blob and nothing else"),
    ("camera1", b""),
    ("results", ({}, b"a blob and no metadata to speak of")),
    ("camera1/blob", {"n": 1}),
    ("camera1", b"a blob and nothing else"),
]
"""As a publisher says them: metadata of many kinds, several blobs, blobs alone, the same twice."""


def as_received(messages: list[tuple[str, Any]]) -> list[tuple[str, Any, list[bytes]]]:
    """The same as name, metadata and blobs, by a subscriber's own account."""
    with mb.MsgbusContext({"type": "memory"}) as bus, bus.new_subscriber("") as subscriber:
        for topic, message in messages:
            bus.new_publisher(topic).publish(message)
        return [told(subscriber.recv(timeout=DEADLINE * 1000)) for _ in messages]


def told(envelope: mb.MsgEnvelope[Any]) -> tuple[str, Any, list[bytes]]:
    return envelope.name or "", envelope.meta_data, [bytes(view) for view in envelope.views]


def test_messages_are_read_as_they_were_when_recorded(recorded: Recorded, path: Path) -> None:
    figures = recorded(MESSAGES)
    recording = Recording(path)
    found = [(message.topic, *told(unpack(message))[1:]) for message in recording.messages()]
    assert found == as_received(MESSAGES)
    assert (figures.messages, figures.dropped, figures.lost, figures.missing) == (len(MESSAGES), {}, {"": 0}, 0)
    assert figures.size == path.stat().st_size
    assert (recording.complete, recording.topics) == (True, ("camera1", "results", "camera1/blob"))


@pytest.mark.parametrize("compression", Compression)
def test_messages_arrive_as_they_were_when_replayed(
    compression: Compression, recorded: Recorded, bus: mb.MsgbusContext, path: Path
) -> None:
    recorded(MESSAGES * 20, compression=compression)
    recording = Recording(path)
    with bus.new_subscriber("") as subscriber:
        replay = Replay(recording, {topic: bus.new_publisher(topic) for topic in recording.topics}, speed=0)
        assert len(list(replay.once(lambda _: None))) == replay.published == 20 * len(MESSAGES)
        assert replay.latest is None
        found = [told(subscriber.recv(timeout=DEADLINE * 1000)) for _ in range(replay.published)]
    assert found == as_received(MESSAGES * 20)


def test_messages_are_recorded_when_their_metadata_are_very_deep(recorded: Recorded, path: Path) -> None:
    deep = msgspec.json.decode(b'{"a":' * 800 + b"1" + b"}" * 800)
    recorded([("camera1", deep)])
    (message,) = Recording(path).messages()
    assert unpack(message).meta_data == deep


def test_a_message_is_recorded_when_its_publishers_clock_is_before_1970(path: Path) -> None:
    class Early:
        """A subscriber of a publisher whose clock nobody would set like this but on purpose."""

        name = "camera1"
        stats = mb.Stats("subscriber camera1")

        def recv(self, **_: float) -> mb.MsgEnvelope[Any]:
            return mb.MsgEnvelope({"n": 1}, None, "camera1", (2**40, -(2**63), 0, 0, 0, 0, 1))

    with Recorder(path, [Early()], count=1) as recorder:  # type: ignore[list-item]  # it stands in for one
        assert recorder.ended.wait(DEADLINE)
    (message,) = Recording(path).messages()
    assert (message.publish_time, message.sequence) == (0, 0)


def test_topics_are_left_out_when_they_have_no_publisher(recorded: Recorded, bus: mb.MsgbusContext, path: Path) -> None:
    recorded(MESSAGES)
    replay = Replay(Recording(path), {"results": bus.new_publisher("results")}, speed=0)
    assert [message.topic for message in replay.once(lambda _: None)] == ["results", "results"]


def test_the_library_of_mcap_finds_channels_schemas_and_pixels_when_it_opens_the_file(
    recorded: Recorded, path: Path
) -> None:
    recorded(MESSAGES)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        summary = reader.get_summary()
        assert summary is not None
        assert summary.chunk_indexes
        channels = {
            channel.topic: (channel.message_encoding, schema.name, schema.encoding)
            for channel in summary.channels.values()
            for schema in [summary.schemas[channel.schema_id]]
            if channel.metadata["msgbus.topic"] != "camera1/blob"
        }
        image = next(reader.iter_decoded_messages(topics=["camera1/image"])).decoded_message
        (metadata, *_) = reader.iter_messages(topics=["camera1"])
    assert channels == {
        "camera1": ("json", "camera1", "jsonschema"),
        "camera1/blob": ("protobuf", "google.protobuf.BytesValue", "protobuf"),
        "camera1/blob2": ("protobuf", "google.protobuf.BytesValue", "protobuf"),
        "camera1/image": ("protobuf", "foxglove.RawImage", "protobuf"),
        "camera1/image1": ("protobuf", "foxglove.CompressedImage", "protobuf"),
        "results": ("json", "results", "jsonschema"),
        "results/blob": ("protobuf", "google.protobuf.BytesValue", "protobuf"),
    }
    pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
    assert (image.encoding, np.array_equal(pixels, FRAME)) == ("bgr8", True)
    assert metadata[0] is not None
    assert msgspec.json.decode(metadata[0].data)["properties"]["frame_number"] == {"type": "number"}


def test_times_and_numbers_are_the_publishers_when_the_stream_is_native(socket_dir: Path, path: Path) -> None:
    with mb.MsgbusContext({"type": "zmq_ipc", "socket_dir": str(socket_dir)}) as bus:
        publisher, witness = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
        with Recorder(path, [bus.new_subscriber("camera1")], count=3) as recorder:
            publisher.wait_for_subscribers(2, timeout=DEADLINE * 1000)
            for number in range(3):
                publisher.publish({"n": number})
            assert recorder.ended.wait(DEADLINE)
        seen = [witness.recv(timeout=DEADLINE * 1000) for _ in range(3)]
    found = list(Recording(path).messages())
    assert [message.sequence for message in found] == [envelope.sequence for envelope in seen]
    for message, envelope in zip(found, seen, strict=True):
        assert envelope.sent_at is not None
        assert abs(message.publish_time / 1e9 - envelope.sent_at) < 1e-6
        assert abs(message.log_time / 1e9 - time.time()) < 60


def test_the_file_tells_how_it_was_made_when_it_is_read(recorded: Recorded, path: Path) -> None:
    recorded(MESSAGES)
    with path.open("rb") as file:
        (record,) = make_reader(file).iter_metadata()
    assert record.name == "msgbus.recording"
    assert record.metadata.keys() == {"seconds", "messages", "dropped", "lost", "lost."}
    assert (record.metadata["messages"], record.metadata["dropped"]) == (str(len(MESSAGES)), "0")


def test_a_recording_is_replayed_in_its_rhythm_when_a_clock_is_given(
    recorded: Recorded, bus: mb.MsgbusContext, path: Path
) -> None:
    recorded([("camera1", {"n": number}) for number in range(3)])
    times = [message.log_time for message in Recording(path).messages()]
    now = 100.0
    waited: list[float] = []

    def wait(seconds: float) -> None:
        nonlocal now
        waited.append(seconds)
        now += seconds + 0.25  # who waits comes too late

    replay = Replay(Recording(path), {"camera1": bus.new_publisher("camera1")}, speed=1e-9, clock=lambda: now)
    list(replay.once(wait))
    list(replay.once(wait))
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]  # as seconds, at that speed
    assert waited == pytest.approx([0, gaps[0] - 0.25, gaps[1] - 0.25, gaps[1] - 0.25, gaps[0] - 0.25, gaps[1] - 0.25])
    assert replay.latest == pytest.approx(0.25)


def test_a_delay_is_not_made_up_for_when_it_is_long(recorded: Recorded, bus: mb.MsgbusContext, path: Path) -> None:
    recorded([("camera1", {"n": number}) for number in range(3)])
    first, *_, last = [message.log_time for message in Recording(path).messages()]
    now = 0.0
    stopped = iter([0.0, 10.0, 0.0])  # as by Ctrl-Z

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds + next(stopped)

    replay = Replay(Recording(path), {"camera1": bus.new_publisher("camera1")}, speed=1e-9, clock=lambda: now)
    list(replay.once(wait))
    assert now == pytest.approx(last - first + 10.0)
    assert replay.latest == pytest.approx(10.0)


def test_a_recording_is_closed_to_others_when_the_umask_would_let_them_read(recorded: Recorded, path: Path) -> None:
    before = os.umask(0)
    try:
        recorded(MESSAGES)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
