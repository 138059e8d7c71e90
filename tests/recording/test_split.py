"""A recording in several files: each complete in itself, all of them together what one would be."""

import threading
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader

import eis.msgbus as mb
from eis.msgbus.recording import Recorder, Recording, Recordings, Replay, Split, series
from eis.msgbus.recording.message import unpack
from eis.msgbus.recording.writer import RecordingFile
from tests.meeting import DEADLINE, until
from tests.recording.conftest import Recorded, SlowDisk

BLOB = bytes(2_000_000)  # it fills a chunk of the file by itself
MESSAGES: list[tuple[str, Any]] = [(f"camera{number % 2}", ({"n": number}, BLOB)) for number in range(5)]


def files(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.mcap"))


def numbers(recording: Recording | Recordings) -> list[int]:
    return [unpack(message).meta_data["n"] for message in recording.messages()]


def told(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        (record,) = make_reader(file).iter_metadata()
    return record.metadata


def test_each_file_is_complete_when_a_recording_is_split_by_size(recorded: Recorded, path: Path) -> None:
    figures = recorded(MESSAGES, split=Split(size=3_000_000))
    assert [file.name for file in files(path)] == [f"recorded-000{number}.mcap" for number in (1, 2, 3)]
    assert [numbers(Recording(file)) for file in files(path)] == [[0, 1], [2, 3], [4]]
    assert [Recording(file).topics for file in files(path)] == [("camera0", "camera1")] * 2 + [("camera0",)]
    assert all(Recording(file).complete for file in files(path))
    assert figures.size == sum(file.stat().st_size for file in files(path))
    assert [told(file)["messages"] for file in files(path)] == ["2", "2", "1"]


def test_a_file_has_so_many_seconds_when_a_recording_is_split_by_time(
    bus: mb.MsgbusContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(1_000_000_000 * second for second in (5, 5, 9, 14, 15, 24, 26))  # at the beginning, of each message
    monkeypatch.setattr("eis.msgbus.recording.recorder.steady_clock", lambda: lambda: next(now))
    monkeypatch.setattr(Recorder, "_told", lambda _: {})  # it looks at the clock too
    publisher = bus.new_publisher("camera1")
    with Recorder(path, [bus.new_subscriber("")], count=6, split=Split(seconds=10)) as recorder:
        for number in range(6):
            publisher.publish({"n": number})
        assert recorder.ended.wait(DEADLINE)
    assert [numbers(Recording(file)) for file in files(path)] == [[0, 1, 2], [3, 4], [5]]


@pytest.mark.parametrize(
    ("split", "size", "seconds", "full"),
    [
        (Split(), 1 << 60, 1e9, False),
        (Split(size=10), 9, 1e9, False),
        (Split(size=10), 10, 0, True),
        (Split(seconds=1.5), 1 << 60, 1.4, False),
        (Split(seconds=1.5), 0, 1.5, True),
        (Split(size=10, seconds=1.5), 10, 0, True),
        (Split(size=10, seconds=1.5), 0, 1.5, True),
    ],
)
def test_a_file_is_full_by_what_is_reached_first(split: Split, size: int, seconds: float, *, full: bool) -> None:
    assert split.is_full(size, int(seconds * 1e9)) is full


def test_files_are_replayed_as_one_when_they_are_named_in_any_order(
    recorded: Recorded, bus: mb.MsgbusContext, path: Path
) -> None:
    recorded(MESSAGES, split=Split(size=1))
    recordings = Recordings([*reversed(files(path))])
    spans = [span for span in (Recording(file).span for file in files(path)) if span]
    assert (len(files(path)), recordings.complete, recordings.topics) == (5, True, ("camera0", "camera1"))
    assert recordings.span == (spans[0][0], spans[-1][1])
    with bus.new_subscriber("") as subscriber:
        replay = Replay(recordings, {topic: bus.new_publisher(topic) for topic in recordings.topics}, speed=0)
        assert len(list(replay.once(lambda _: None))) == 5
        received = [subscriber.recv(timeout=DEADLINE * 1000).meta_data["n"] for _ in range(5)]
    assert received == [0, 1, 2, 3, 4]


def test_the_file_that_was_cut_short_comes_last_when_files_are_read_as_one(recorded: Recorded, path: Path) -> None:
    recorded(MESSAGES, split=Split(size=3_000_000))
    files(path)[2].write_bytes(files(path)[2].read_bytes()[:-100])
    recordings = Recordings([*reversed(files(path))])
    assert (recordings.complete, recordings.span) == (False, None)
    assert numbers(recordings) == [0, 1, 2, 3]  # nobody knows whether all of the last is there


def test_what_was_lost_is_told_in_the_file_in_whose_time_it_was_when_a_recording_is_split(
    bus: mb.MsgbusContext, path: Path, slow_disk: SlowDisk
) -> None:
    busy, goes_on = slow_disk
    publisher = bus.new_publisher("camera1")
    with Recorder(path, [bus.new_subscriber("")], queue_bytes=3_000_000, split=Split(size=1)) as recorder:
        for _, message in MESSAGES[:2]:
            publisher.publish(message)
            assert busy.wait(DEADLINE)  # one is written, one waits
        publisher.publish(MESSAGES[2][1])
        until(lambda: recorder.figures.missing == 1)
        goes_on.set()
    assert [(told(file)["messages"], told(file)["dropped"]) for file in files(path)] == [("1", "1"), ("1", "0")]


def test_the_recording_ends_and_what_there_is_is_complete_when_the_next_file_is_there_already(
    recorded: Recorded, path: Path
) -> None:
    mine = path.with_name("recorded-0002.mcap")
    mine.write_text("mine")
    with pytest.raises(mb.MessageBusError, match=r"recorded-0002\.mcap is there already, and is not written over"):
        recorded(MESSAGES, split=Split(size=3_000_000))
    first = Recording(path.with_name("recorded-0001.mcap"))
    assert (first.complete, numbers(first), mine.read_text()) == (True, [0, 1], "mine")
    assert int(told(first.path)["dropped"]) >= 1


def test_no_empty_file_is_left_when_a_file_cannot_be_completed(
    recorded: Recorded, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordingFile, "finish", fail)
    with pytest.raises(mb.MessageBusError, match="No space left on device: it has no index"):
        recorded(MESSAGES, split=Split(size=1))
    assert [file.name for file in files(path)] == ["recorded-0001.mcap"]


def test_files_that_have_ended_are_closed_by_the_thread_of_the_disk(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.recording.recorder._FLUSH", 0.001)
    closed: list[tuple[str, str]] = []
    close = RecordingFile.close

    def noted(file: RecordingFile) -> None:
        closed.append((file.path.name, threading.current_thread().name))
        close(file)

    monkeypatch.setattr(RecordingFile, "close", noted)
    turn = series.Series._turn

    def turned(self: series.Series) -> None:
        turn(self)
        until(lambda: len(closed) == self._number - 1)

    monkeypatch.setattr(series.Series, "_turn", turned)
    recorded(MESSAGES[:3], split=Split(size=1))
    assert [name for name, _ in closed] == [f"recorded-000{number}.mcap" for number in (1, 2, 3)]
    assert "MainThread" not in {thread for _, thread in closed[:2]}
