"""A bus in one process, and messages of every kind recorded from it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus.recording import Figures, Recorder
from eis.msgbus.recording.message import Recorded as Message
from eis.msgbus.recording.writer import RecordingFile
from tests.meeting import DEADLINE

Recorded = Callable[..., Figures]
SlowDisk = tuple[threading.Event, threading.Event]


@pytest.fixture
def bus() -> Iterator[mb.MsgbusContext]:
    with mb.MsgbusContext({"type": "memory"}) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a recording."""
    return tmp_path / "recorded.mcap"


@pytest.fixture
def recorded(bus: mb.MsgbusContext, path: Path) -> Recorded:
    """`recorded([("camera1", {"n": 1}), ...])`: published, and recorded in `path`."""

    def record(messages: Sequence[tuple[str, Any]], **options: Any) -> Figures:
        recorder = Recorder(path, [bus.new_subscriber("")], count=len(messages), **options)
        publishers = {topic: bus.new_publisher(topic) for topic, _ in messages}
        with recorder:
            for topic, message in messages:
                publishers[topic].publish(message)
            assert recorder.ended.wait(DEADLINE)
        return recorder.figures

    return record


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    """`busy, goes_on = slow_disk`: the first is set when a message is to be written, which waits for the second."""
    busy, goes_on = threading.Event(), threading.Event()
    write = RecordingFile.write

    def slow(file: RecordingFile, message: Message) -> None:
        busy.set()
        assert goes_on.wait(DEADLINE)
        write(file, message)

    monkeypatch.setattr(RecordingFile, "write", slow)
    return busy, goes_on
