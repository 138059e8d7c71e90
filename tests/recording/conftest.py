"""A bus in one process, and messages of every kind recorded from it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus.recording import Figures, Recorder
from tests.meeting import DEADLINE

Recording = Callable[[Sequence[tuple[str, Any]]], Figures]


@pytest.fixture
def bus() -> Iterator[mb.MsgbusContext]:
    with mb.MsgbusContext({"type": "memory"}) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a recording."""
    return tmp_path / "recorded.mcap"


@pytest.fixture
def recorded(bus: mb.MsgbusContext, path: Path) -> Callable[..., Figures]:
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
