"""`msgbus hz`: how many messages come, from what was received. Does not know how they are sent."""

import dataclasses
import json as json_text
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from eis.msgbus import MsgbusContext, ReceiveTimeout, Subscriber
from eis.msgbus.tools.completion import names
from eis.msgbus.tools.connection import Connection
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.stderr import printable

__all__ = ["EXAMPLES", "command"]

EXAMPLES = ("msgbus hz camera1 -c bus.json -n 2", "msgbus hz camera1 -a ipc://sockets/camera1 --every 0.5 -n 3 --json")

_MEGA = 1e6


@dataclasses.dataclass
class _Topic:
    """Count what came of one topic."""

    messages: int = 0
    bytes: int = 0
    latencies: list[float] = dataclasses.field(default_factory=list)


@gathered(connection=Connection)
def command(
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="The topic, or the beginning of several.", autocompletion=names)
    ],
    *,
    connection: Connection,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time of one report.")] = 1,
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, metavar="N", help="End after so many reports.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each report.")] = False,
) -> None:
    """Show rates."""
    source = connection.client(topic)
    with MsgbusContext(source) as bus:
        subscriber = bus.new_subscriber(topic)
        lost = 0
        left = count
        while left != 0:
            topics, seconds = _counted(subscriber, every)
            now = subscriber.stats.lost
            for line in _lines(topics, seconds, now - lost, json):
                print(line, flush=True)
            lost = now
            left = None if left is None else left - 1


def _counted(subscriber: Subscriber[Any], every: float) -> tuple[dict[str, _Topic], float]:
    """Receive for so long; return what came of each topic, and how long that was."""
    topics: dict[str, _Topic] = {}
    began = time.monotonic()
    while (left := began + every - time.monotonic()) > 0:
        try:
            envelope = subscriber.recv(timeout=left * 1000)
        except ReceiveTimeout:
            break
        topic = topics.setdefault(envelope.name or "", _Topic())
        topic.messages += 1
        topic.bytes += sum(view.nbytes for view in envelope.views)
        if envelope.latency is not None:
            topic.latencies.append(envelope.latency)
    return topics, time.monotonic() - began


def _lines(topics: dict[str, _Topic], seconds: float, lost: int, as_json: bool) -> Iterator[str]:
    rows = [_row(name, topic, seconds) for name, topic in sorted(topics.items())]
    if as_json:
        yield json_text.dumps({"seconds": round(seconds, 3), "lost": lost, "topics": rows})
        return
    for row in rows:
        late = f"{row['latency_ms']:8.2f} ms late" if row["latency_ms"] is not None else ""
        name = printable(str(row["name"]))
        yield f"{name:24} {row['messages_per_second']:9.1f} messages/s {row['megabytes_per_second']:9.2f} MB/s {late}"
    if not rows:
        yield "nothing came"
    if lost:
        yield f"{lost} messages were lost"


def _row(name: str, topic: _Topic, seconds: float) -> dict[str, str | float | None]:
    latencies = sorted(topic.latencies)
    return {
        "name": name,
        "messages_per_second": round(topic.messages / seconds, 2),
        "megabytes_per_second": round(topic.bytes / _MEGA / seconds, 3),
        "latency_ms": round(latencies[len(latencies) // 2] * 1000, 3) if latencies else None,
    }
