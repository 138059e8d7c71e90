"""`msgbus replay`: what was recorded, published once more. Does not know what the file looks like."""

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eis.msgbus import MsgbusContext, Publisher
from eis.msgbus.tools.connection import Connection
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.progress import Progressing, Report
from eis.msgbus.tools.stderr import printable, say

if TYPE_CHECKING:  # it needs an extra of its own
    from eis.msgbus.recording import Recordings, Replay

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus replay camera1.mcap -c bus.json --subscribers 1",
    "msgbus replay camera1.mcap -a ipc://sockets/again --topics camera1 --speed 0.5 --json",
    "msgbus replay camera1.mcap -c bus.json --speed 0 -q",
    "msgbus replay day-*.mcap -c bus.json",
)

_PIECE = 1.0  # seconds; the system takes no wait of centuries

_Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", help="A file of `msgbus record`, or the files of a recording that was split."),
]
_Speed = Annotated[
    float, typer.Option(min=0, metavar="FACTOR", help="2 is twice as fast as it was; 0 is as fast as possible.")
]
_Loop = Annotated[bool, typer.Option("--loop", help="Begin anew at the end, until Ctrl-C.")]
_Topics = Annotated[
    list[str] | None,
    typer.Option(metavar="TOPIC", help="Only this topic, or those that begin so; may be given several times."),
]
_Subscribers = Annotated[
    int, typer.Option(min=0, metavar="N", help="Wait until each topic has so many subscribers; 0: do not wait.")
]


@gathered(connection=Connection, report=Report)
def command(
    files: _Files,
    *,
    connection: Connection,
    report: Report,
    speed: _Speed = 1,
    loop: _Loop = False,
    topics: _Topics = None,
    subscribers: _Subscribers = 0,
) -> None:
    """Replay a recording."""
    from eis.msgbus.recording import Recordings, Replay

    recording = Recordings(files)
    named = " ".join(map(str, files))
    chosen = _chosen(recording, topics or [""])
    if not recording.complete:
        say(f"{named} was cut short: it is replayed as far as it goes")
    with MsgbusContext(connection.publisher(*chosen)) as bus, report.progressing() as progress:
        publishers = {topic: bus.new_publisher(topic) for topic in chosen}
        _await_subscribers(publishers.values(), subscribers, progress)
        replay = Replay(recording, publishers, speed=speed)
        _play(replay, recording, progress)
        while loop:
            _play(replay, recording, progress)
        dropped = sum(publisher.stats.dropped for publisher in publishers.values())
    report.tell(f"{named}: {_told(replay)}", {"file": named, **_figures(replay), "dropped": dropped})
    if dropped:
        say(f"{dropped} messages did not reach a subscriber whose queue was full: a lower --speed gives it time")
        raise typer.Exit(1)


def _chosen(recording: "Recordings", topics: Sequence[str]) -> list[str]:
    chosen = [topic for topic in recording.topics if topic.startswith(tuple(topics))]
    if not chosen:
        there = ", ".join(map(repr, recording.topics))
        raise typer.BadParameter(f"expected one of {there}, got {', '.join(map(repr, topics))}", param_hint="--topics")
    return chosen


def _await_subscribers(publishers: Iterable[Publisher], count: int, progress: Progressing) -> None:
    for publisher in publishers:
        progress.show(f"waiting for subscribers of {printable(publisher.name)}")
        publisher.wait_for_subscribers(count)


def _play(replay: "Replay", recording: "Recordings", progress: Progressing) -> None:
    """Play the recording once; where it has no index, nobody knows how long it is."""
    first, last = recording.span or (0, 0)
    for message in replay.once(_wait):
        share = (message.log_time - first) / (last - first) if last > first else None
        progress.show(_told(replay), share)


def _wait(seconds: float) -> None:
    never = threading.Event()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        never.wait(min(left, _PIECE))


def _told(replay: "Replay") -> str:
    late = "" if replay.latest is None else f", at most {replay.latest * 1000:.1f} ms late"
    return f"{replay.published} messages{late}"


def _figures(replay: "Replay") -> dict[str, float | None]:
    late = None if replay.latest is None else round(replay.latest * 1000, 3)
    return {"messages": replay.published, "late_ms": late}
