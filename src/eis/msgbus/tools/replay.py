"""`msgbus replay`: what was recorded, published once more. Does not know what the file looks like."""

import json as json_text
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eis.msgbus import MsgbusContext, Publisher
from eis.msgbus.tools.connection import Connection
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.progress import Progressing, QuietOption
from eis.msgbus.tools.stderr import printable, say

if TYPE_CHECKING:  # it needs an extra of its own
    from eis.msgbus.recording import Recording, Replay

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus replay camera1.mcap -c bus.json --subscribers 1",
    "msgbus replay camera1.mcap -a ipc://sockets/again --topics camera1 --speed 0.5 --json",
    "msgbus replay camera1.mcap -c bus.json --speed 0 -q",
)

_PIECE = 1.0  # seconds; the system takes no wait of centuries

_Speed = Annotated[
    float, typer.Option(min=0, metavar="FACTOR", help="2 is twice as fast as it was; 0 is as fast as possible.")
]
_Topics = Annotated[
    list[str] | None,
    typer.Option(metavar="TOPIC", help="Only this topic, or those that begin so; may be given several times."),
]
_Subscribers = Annotated[
    int, typer.Option(min=0, metavar="N", help="Wait until each topic has so many subscribers; 0: do not wait.")
]


@gathered(connection=Connection)
def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `msgbus record`.")],
    *,
    connection: Connection,
    speed: _Speed = 1,
    loop: Annotated[bool, typer.Option("--loop", help="Begin anew at the end, until Ctrl-C.")] = False,
    topics: _Topics = None,
    subscribers: _Subscribers = 0,
    quiet: QuietOption = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Replay a recording."""
    from eis.msgbus.recording import Recording, Replay

    recording = Recording(file)
    chosen = _chosen(recording, topics or [""])
    if not recording.complete:
        say(f"{file} was cut short: it is replayed as far as it goes")
    with MsgbusContext(connection.publisher(*chosen)) as bus, Progressing(quiet) as progress:
        publishers = {topic: bus.new_publisher(topic) for topic in chosen}
        _await_subscribers(publishers.values(), subscribers, progress)
        replay = Replay(recording, publishers, speed=speed)
        _play(replay, recording, progress)
        while loop:
            _play(replay, recording, progress)
        dropped = sum(publisher.stats.dropped for publisher in publishers.values())
    print(_result(file, replay, dropped, json))
    if dropped:
        say(f"{dropped} messages did not reach a subscriber whose queue was full: a lower --speed gives it time")
        raise typer.Exit(1)


def _chosen(recording: "Recording", topics: Sequence[str]) -> list[str]:
    chosen = [topic for topic in recording.topics if topic.startswith(tuple(topics))]
    if not chosen:
        there = ", ".join(map(repr, recording.topics))
        raise typer.BadParameter(f"expected one of {there}, got {', '.join(map(repr, topics))}", param_hint="--topics")
    return chosen


def _await_subscribers(publishers: Iterable[Publisher], count: int, progress: Progressing) -> None:
    for publisher in publishers:
        progress.show(f"waiting for subscribers of {printable(publisher.name)}")
        publisher.wait_for_subscribers(count)


def _play(replay: "Replay", recording: "Recording", progress: Progressing) -> None:
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


def _result(file: Path, replay: "Replay", dropped: int, as_json: bool) -> str:
    if not as_json:
        return printable(f"{file}: {_told(replay)}")
    late = None if replay.latest is None else round(replay.latest * 1000, 3)
    return json_text.dumps({"file": str(file), "messages": replay.published, "late_ms": late, "dropped": dropped})
