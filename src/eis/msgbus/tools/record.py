"""`msgbus record`: what is published, into a file. Does not know what the file looks like."""

import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eis.msgbus import MsgbusContext
from eis.msgbus.tools.completion import names
from eis.msgbus.tools.connection import Connection
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.progress import Progressing, Report
from eis.msgbus.tools.stderr import say

if TYPE_CHECKING:  # it needs an extra of its own
    from eis.msgbus.recording import Figures, Recorder

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus record -o camera1.mcap camera1 -c bus.json --duration 2",
    "msgbus record -o all.mcap camera1 results -a ipc://sockets/camera1 -n 30 --json",
    "msgbus record -o small.mcap camera1 -c bus.json --max-size 1 --compression zstd --duration 2 -q",
    "msgbus record -o day.mcap camera1 -c bus.json --split-time 1 --split-size 1000 --duration 2",
)

_MEGA = 1_000_000
_LOOK = 0.5  # seconds from one look at the figures to the next


class _Compression(StrEnum):
    NONE = "none"
    LZ4 = "lz4"
    ZSTD = "zstd"


_Topics = Annotated[
    list[str],
    typer.Argument(
        metavar="TOPIC", help="The topics, or the beginnings of several; '' is all of them.", autocompletion=names
    ),
]
_File = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file, which must not be there yet.")]
_Duration = Annotated[float | None, typer.Option(min=0.001, metavar="SECONDS", help="End after so long.")]
_Count = Annotated[int | None, typer.Option("-n", "--count", min=1, metavar="N", help="End after so many messages.")]
_Size = Annotated[float | None, typer.Option(min=0.001, metavar="MB", help="End when the file is so large.")]
_SplitSize = Annotated[
    float | None,
    typer.Option(min=0.001, metavar="MB", help="Begin the next file when one is so large: FILE-0001, FILE-0002 ..."),
]
_SplitTime = Annotated[
    float | None, typer.Option(min=0.001, metavar="SECONDS", help="Begin the next file when one has so many seconds.")
]
_Queue = Annotated[int, typer.Option(min=1, metavar="MB", help="Messages that may wait in memory for the disk.")]
_Compress = Annotated[
    _Compression,
    typer.Option(help="Compress the file; images of cameras hardly shrink, metadata do."),
]


@gathered(connection=Connection, report=Report)
def command(
    topics: _Topics,
    *,
    output: _File,
    connection: Connection,
    report: Report,
    duration: _Duration = None,
    count: _Count = None,
    max_size: _Size = None,
    split_size: _SplitSize = None,
    split_time: _SplitTime = None,
    compression: _Compress = _Compression.NONE,
    queue: _Queue = 256,
) -> None:
    """Record messages."""
    from eis.msgbus.recording import Compression, Recorder, Split

    with MsgbusContext(connection.client(*topics)) as bus:
        subscribers = [bus.new_subscriber(topic) for topic in dict.fromkeys(topics)]
        recorder = Recorder(
            output,
            subscribers,
            compression=Compression(compression),
            queue_bytes=queue * _MEGA,
            count=count,
            max_size=_bytes(max_size),
            split=Split(_bytes(split_size), split_time),
        )
        with _ended_by_signals(recorder), recorder, report.progressing() as progress:
            _watch(recorder, progress, duration)
        figures = recorder.figures
    report.tell(f"{output}: {_told(figures)}", {"file": str(output)} | dataclasses.asdict(figures))
    if figures.missing:
        say(f"{figures.missing} messages are missing: {_why(figures)}")
        raise typer.Exit(1)


def _bytes(megabytes: float | None) -> int | None:
    return None if megabytes is None else int(megabytes * _MEGA)


def _watch(recorder: "Recorder", progress: Progressing, duration: float | None) -> None:
    began = time.monotonic()
    while True:
        passed = time.monotonic() - began
        left = _LOOK if duration is None else min(_LOOK, duration - passed)
        if left <= 0 or recorder.ended.wait(left):
            return
        progress.show(_told(recorder.figures), None if duration is None else passed / duration)


@contextlib.contextmanager
def _ended_by_signals(recorder: "Recorder") -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the recording; a second one ends the program."""

    def end(number: int, _: object) -> None:
        signal.signal(number, before[number])
        recorder.ended.set()

    before: dict[int, Any] = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _told(figures: "Figures") -> str:
    rate = figures.bytes / _MEGA / figures.seconds
    return (
        f"{figures.seconds:.1f} s, {figures.messages} messages, {figures.size / _MEGA:.1f} MB, {rate:.1f} MB/s, "
        f"{figures.missing} missing"
    )


def _why(figures: "Figures") -> str:
    dropped, lost = sum(figures.dropped.values()), sum(figures.lost.values())
    return f"{dropped} came faster than they could be written, {lost} did not come at all"
