"""Files and disks that are not as they should be, and streams that are faster than a disk."""

import dataclasses
import os
import resource
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard
from google.protobuf.wrappers_pb2 import BytesValue
from mcap.data_stream import RecordBuilder
from mcap.reader import make_reader
from mcap.records import Channel as McapChannel
from mcap.records import Chunk, ChunkIndex, DataEnd, Footer, Header
from mcap.records import McapRecord as Record
from mcap.records import Message as McapMessage
from mcap.writer import MCAP0_MAGIC, IndexType, Writer

import eis.msgbus as mb
from eis.msgbus.recording import Recorder, Recording, Replay, reader
from eis.msgbus.recording import writer as writing
from eis.msgbus.recording.message import Part, unpack
from eis.msgbus.recording.message import Recorded as Message
from eis.msgbus.recording.writer import RecordingFile
from tests.meeting import DEADLINE, until
from tests.recording.conftest import Recorded, SlowDisk

BLOB = bytes(2_000_000)  # as a frame, it fills a chunk of the file by itself
MESSAGES: list[tuple[str, Any]] = [("camera1", ({"n": number}, BLOB)) for number in range(5)]


class FakeSubscriber:
    """A subscriber to which something happens that cannot be made to happen."""

    name = "camera1"

    def __init__(self, error: Exception | None = None, lost: int = 0) -> None:
        self.stats = mb.Stats("subscriber camera1", lost=lost)
        self._error = error

    def recv(self, **_: float) -> mb.MsgEnvelope[Any]:
        raise self._error or mb.ReceiveTimeout("nothing came")


def numbers(path: Path) -> list[int]:
    return [unpack(message).meta_data["n"] for message in Recording(path).messages()]


def metadata_of(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        (record,) = make_reader(file).iter_metadata()
    return record.metadata


def chunks(path: Path) -> list[ChunkIndex]:
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    return summary.chunk_indexes


# Files.


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_file_is_read_as_far_as_it_goes_when_it_was_cut_short(share: float, recorded: Recorded, path: Path) -> None:
    recorded(MESSAGES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert not Recording(path).complete
    assert Recording(path).span is None
    assert numbers(path) == list(range(max(0, int(share * 5) - 1)))  # the last one that is there may lack something


def test_every_cut_is_told_from_damage_when_a_file_was_cut_short(recorded: Recorded, path: Path) -> None:
    recorded([("camera1", {"n": number}) for number in range(5)])
    whole = path.read_bytes()
    seen = set()
    for length in range(8, len(whole)):
        path.write_bytes(whole[:length])
        try:
            seen.add(len(numbers(path)))
        except mb.MessageBusError as error:
            assert "found none" in str(error)  # noqa: PT017  # either is right, as long as it is said
    assert 4 in seen
    assert seen <= set(range(5))


@pytest.mark.parametrize("content", [b"", b"\x89MCAP", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_a_file_is_refused_when_it_is_no_mcap_file(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(mb.MessageBusError, match=r"recorded.mcap: expected an MCAP file, got something else"):
        Recording(path)


def test_a_file_is_refused_when_another_program_wrote_it(path: Path) -> None:
    writer = Writer(str(path))
    writer.start()
    writer.add_message(writer.register_channel("camera1", "json", 0), 1, b"{}", 1)
    writer.finish()  # type: ignore[no-untyped-call]  # the library's own omission
    with pytest.raises(mb.MessageBusError, match="expected messages that `msgbus record` wrote, found none"):
        Recording(path)


def test_channels_of_another_program_are_left_out_when_a_file_has_both(path: Path) -> None:
    writer = Writer(str(path), use_chunking=False, use_statistics=False, index_types=IndexType.NONE)
    writer.start()
    for topic, metadata in (("other", {}), ("camera1", {"msgbus.topic": "camera1"})):
        writer.add_message(writer.register_channel(topic, "json", 0, metadata), 1, b'{"n": 7}', 1)
    writer.finish()  # type: ignore[no-untyped-call]  # likewise
    assert numbers(path) == [7]
    assert Recording(path).span is None


def test_a_file_is_refused_when_it_is_not_there(path: Path) -> None:
    with pytest.raises(mb.MessageBusError, match=r"cannot read .*recorded.mcap: No such file"):
        Recording(path)


def test_damage_is_noticed_when_bytes_have_changed(recorded: Recorded, path: Path) -> None:
    recorded(MESSAGES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # in the middle of a blob
    path.write_bytes(content)
    with pytest.raises(mb.MessageBusError, match=r"recorded.mcap is damaged: .*crc"):
        numbers(path)


def test_damage_is_noticed_when_a_complete_file_lacks_a_piece(recorded: Recorded, path: Path) -> None:
    recorded(MESSAGES)
    content = path.read_bytes()
    path.write_bytes(content[:3_000_000] + content[-2000:])
    with pytest.raises(mb.MessageBusError, match=r"recorded.mcap is damaged"):
        numbers(path)


def test_damage_is_noticed_when_a_length_has_changed(recorded: Recorded, path: Path) -> None:
    recorded(MESSAGES)
    content = bytearray(path.read_bytes())
    length = chunks(path)[0].chunk_start_offset + 1
    content[length : length + 8] = (1 << 28).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(mb.MessageBusError, match=r"recorded.mcap is damaged: EndOfFile"):
        numbers(path)


@pytest.mark.parametrize(
    "part",
    [
        Part(None, None, b"no JSON"),
        Part(None, None, b"[]"),
        Part(None, None, b'{"a":' * 100_000),
        Part(None, None, b'{"a":"\xff"}'),
        Part(0, BytesValue, b"\xff"),
    ],
    ids=["no JSON", "no object", "too deep", "no text", "no protobuf"],
)
def test_a_message_is_refused_when_it_is_none_of_ours(part: Part) -> None:
    with pytest.raises(mb.MessageBusError, match="a recorded message of 'camera1' is damaged"):
        unpack(Message("camera1", (part,), 1, 1, 0))


def test_a_file_is_not_written_over_when_it_is_there(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(mb.MessageBusError, match=r"recorded.mcap is there already, and is not written over"):  # noqa: SIM117
        with Recorder(path, []):
            pass
    assert path.read_text() == "mine"


def test_a_recording_does_not_begin_when_its_directory_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(mb.MessageBusError, match=r"cannot write .*: No such file or directory"):  # noqa: SIM117
        with Recorder(tmp_path / "no" / "recorded.mcap", []):
            pass


def test_nothing_is_written_when_a_recorder_is_only_made(path: Path) -> None:
    Recorder(path, [])
    assert not path.exists()


# Disks.


def test_a_recording_does_not_begin_when_the_disk_is_full(path: Path) -> None:
    with pytest.raises(mb.MessageBusError, match=r"the disk is full: \d+ MiB are free"):
        Recorder(path, [], keep_free=1 << 60).__enter__()
    assert not path.exists()


def test_a_recording_ends_with_its_index_when_the_disk_becomes_full(
    recorded: Recorded, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_LOOK_EVERY", 3_000_000)
    free = iter([1 << 40, 0])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, next(free)))
    with pytest.raises(mb.MessageBusError, match="the disk is full: 0 MiB are free, and 64 are to stay so"):
        recorded(MESSAGES)
    assert Recording(path).complete
    assert numbers(path) == [0, 1]
    assert int(metadata_of(path)["dropped"]) >= 1  # that which had no room, and what waited behind it


@contextmanager
def largest_file(limit: int) -> Iterator[None]:
    """Let no file become larger, as a full disk does."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_recording_can_be_read_up_to_there_when_the_system_takes_no_more(recorded: Recorded, path: Path) -> None:
    expected = pytest.raises(mb.MessageBusError, match=r"cannot write .*: File too large: it has no index")
    with largest_file(7_000_000), expected:
        recorded(MESSAGES)
    assert not Recording(path).complete
    assert numbers(path) == [0, 1]


def test_a_recording_can_be_read_when_there_is_no_room_for_its_index(recorded: Recorded, path: Path) -> None:
    recorded(MESSAGES[:2])
    last = chunks(path)[-1]
    path.unlink()
    messages_only = last.chunk_start_offset + last.chunk_length + last.message_index_length
    with largest_file(messages_only + 10), pytest.raises(mb.MessageBusError, match="it has no index"):
        recorded(MESSAGES[:2])
    assert numbers(path) == [0]


# Streams.


def test_what_came_too_fast_is_counted_in_the_file_when_the_disk_is_slow(
    bus: mb.MsgbusContext, path: Path, slow_disk: SlowDisk
) -> None:
    busy, goes_on = slow_disk
    subscriber, publisher = bus.new_subscriber(""), bus.new_publisher("camera1")
    with Recorder(path, [subscriber], queue_bytes=5_000_000) as recorder:
        publisher.publish(MESSAGES[0][1])
        assert busy.wait(DEADLINE)
        for _, message in MESSAGES[1:]:
            publisher.publish(message)
        until(lambda: recorder.figures.missing == 2)
        goes_on.set()
    assert numbers(path) == [0, 1, 2]
    assert recorder.figures.dropped == {"camera1": 2}
    told = metadata_of(path)
    assert (told["messages"], told["dropped"], told["dropped.camera1"]) == ("3", "2", "2")


def test_what_a_subscriber_lost_is_told_in_the_file(path: Path) -> None:
    with Recorder(path, [FakeSubscriber(lost=3)]) as recorder:  # type: ignore[list-item]  # it stands in for one
        pass
    assert recorder.figures.lost == {"camera1": 3}
    assert recorder.figures.missing == 3
    assert metadata_of(path)["lost.camera1"] == "3"


def test_a_recording_ends_and_leaves_no_file_when_its_subscriber_is_refused(path: Path) -> None:
    refused = mb.MessageBusAuthenticationFailed("the server refuses this client")
    with pytest.raises(mb.MessageBusAuthenticationFailed, match="refuses this client"):  # noqa: SIM117
        with Recorder(path, [FakeSubscriber(refused)]) as recorder:  # type: ignore[list-item]  # likewise
            assert recorder.ended.wait(DEADLINE)
    assert not path.exists()


def test_an_error_that_nobody_expected_ends_the_recording_when_it_comes_from_a_thread(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(RecordingFile, "write", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        recorded(MESSAGES)


def test_a_recording_ends_when_there_are_more_topics_than_a_file_can_have(
    recorded: Recorded, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_MOST_CHANNELS", 2)
    with pytest.raises(mb.MessageBusError, match="expected at most 2 channels, got more topics than fit"):
        recorded([(f"camera{number}", {"n": number}) for number in range(3)])
    assert numbers(path) == [0, 1]


def test_a_recording_ends_by_itself_when_the_file_is_large_enough(bus: mb.MsgbusContext, path: Path) -> None:
    publisher = bus.new_publisher("camera1")
    with Recorder(path, [bus.new_subscriber("")], max_size=3_000_000) as recorder:
        for _, message in MESSAGES:
            publisher.publish(message)
        assert recorder.ended.wait(DEADLINE)
    assert numbers(path) == [0, 1]
    assert recorder.figures.missing == 0


def test_a_message_is_in_the_file_within_moments_when_no_other_follows(
    bus: mb.MsgbusContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.recording.recorder._FLUSH", 0.01)
    with Recorder(path, [bus.new_subscriber("")]) as recorder:
        bus.new_publisher("camera1").publish({"n": 1})
        until(lambda: b'{"n":1}' in path.read_bytes())
        assert not recorder.ended.is_set()


def test_the_systems_memory_is_given_back_when_messages_are_on_the_disk(
    bus: mb.MsgbusContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.recording.recorder._FLUSH", 0.01)
    calls: list[str] = []
    for name in ("fdatasync", "posix_fadvise"):
        monkeypatch.setattr(os, name, lambda *_, name=name: calls.append(name))
    with Recorder(path, [bus.new_subscriber("")]):
        until(lambda: len(calls) >= 2)
    assert calls[:2] == ["fdatasync", "posix_fadvise"]


def test_a_message_is_not_recorded_and_counted_when_its_topic_is_longer_than_the_bus_lets_it_be(
    bus: mb.MsgbusContext, path: Path
) -> None:
    longest = "ö" * 256
    with Recorder(path, [bus.new_subscriber("")], count=1) as recorder:
        bus.new_publisher(longest + "x").publish({"n": 1})
        bus.new_publisher(longest).publish({"n": 2})
        assert recorder.ended.wait(DEADLINE)
    assert [(message.topic, unpack(message).meta_data) for message in Recording(path).messages()] == [
        (longest, {"n": 2})
    ]
    assert recorder.figures.dropped == {"(others)": 1}


def test_a_damaged_message_ends_a_replay(recorded: Recorded, bus: mb.MsgbusContext, path: Path) -> None:
    recorded([("camera1", {"n": 1})])
    recording = Recording(path)
    path.write_bytes(path.read_bytes().replace(b'{"n":1}', b'{"n":2}'))
    with pytest.raises(mb.MessageBusError, match="is damaged"):
        list(Replay(recording, {"camera1": bus.new_publisher("camera1")}).once(lambda _: None))


@pytest.mark.parametrize("pack", [lz4.frame.compress, zstandard.compress], ids=["lz4", "zstd"])
def test_a_chunk_becomes_no_larger_than_it_says_when_it_is_unpacked(pack: Callable[[bytes], bytes]) -> None:
    name = "lz4" if pack is lz4.frame.compress else "zstd"
    chunk = Chunk(name, pack(bytes(50_000_000)), 0, 0, 0, 1000)
    assert len(reader._expanded(chunk).data) == 1000
    with pytest.raises(ValueError, match="expected chunks of at most 536870912 bytes, got 536870913"):
        reader._expanded(dataclasses.replace(chunk, uncompressed_size=(512 << 20) + 1))


def packed(*records: tuple[Record, int]) -> bytes:
    """A recording of one chunk with these records, each so many times."""

    def bytes_of(*each: Record) -> bytes:
        builder = RecordBuilder()
        for record in each:
            record.write(builder)
        return bytes(builder.end())  # type: ignore[no-untyped-call]  # the library's own omission

    content = b"".join(bytes_of(record) * times for record, times in records)
    chunk = Chunk("zstd", zstandard.compress(content), 0, 0, 0, len(content))
    return MCAP0_MAGIC + bytes_of(Header("", ""), chunk, DataEnd(0), Footer(0, 0, 0)) + MCAP0_MAGIC


CHANNEL = McapChannel(id=1, topic="camera1", message_encoding="json", metadata={"msgbus.topic": "camera1"}, schema_id=0)
MESSAGE = McapMessage(channel_id=1, log_time=1, data=b"{}", publish_time=1, sequence=0)


def test_a_small_file_takes_little_memory_when_it_is_unpacked_to_many_records(path: Path) -> None:
    path.write_bytes(packed((CHANNEL, 50_000), (MESSAGE, 1)))
    assert path.stat().st_size < 10_000
    tracemalloc.start()
    try:
        assert len(list(Recording(path).messages())) == 1
        assert tracemalloc.get_traced_memory()[1] < 20_000_000  # the chunk itself is of 3 MB
    finally:
        tracemalloc.stop()


def test_what_has_no_place_in_a_chunk_is_passed_over(path: Path) -> None:
    path.write_bytes(packed((CHANNEL, 1), (Header("", ""), 2), (MESSAGE, 1)))
    assert [message.topic for message in Recording(path).messages()] == ["camera1"]


def test_a_file_is_refused_when_a_message_has_more_parts_than_any(path: Path) -> None:
    path.write_bytes(packed((CHANNEL, 1), (MESSAGE, 257)))
    with pytest.raises(mb.MessageBusError, match="expected messages of at most 256 parts, got more"):
        list(Recording(path).messages())
