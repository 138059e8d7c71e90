"""`msgbus broker`: run a broker, and show what goes through it. Does not know how."""

import dataclasses
import json as json_text
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from eis.msgbus.broker import Broker, BrokerStats, ServiceStats, TopicStats, read
from eis.msgbus.tools.stderr import printable, say

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus broker broker.json",
    "msgbus broker frontend.json backend.json",
    "msgbus broker broker.json --stats --every 5 --json",
)

_MEGA = 1e6
_COLUMNS = ("topic", "messages/s", "MB/s", "messages", "dropped", "refused", "subscribers")


def command(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="Both sides, an application's interfaces, or the frontend.")
    ],
    backend: Annotated[
        Path | None, typer.Argument(metavar="[BACKEND]", help="The backend, if it is another file.")
    ] = None,
    *,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="STORE", help="Keys of all applications, for interfaces.")
    ] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Count each topic, and show it; that costs half the rate of small messages.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time of one report.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="With --stats: print a line of JSON for each report.")] = False,
) -> None:
    """Run a broker."""
    signal.signal(signal.SIGTERM, _end)
    settings = read([config] if backend is None else [config, backend], keys)
    with Broker(settings, counting=stats) as broker:
        _tell(broker)
        if not stats:
            broker.wait()
        elif sys.stdout.isatty() and not json:
            _show(broker, every)
        else:
            _print(broker, every, json)


def _tell(broker: Broker) -> None:
    """Say where the broker listens; nothing comes before that."""
    if (streams := broker.streams) is not None:
        say(f"broker between {streams.frontend.plan.address} and {streams.backend.plan.address}")
    for service in broker.services:
        backends = ", ".join(backend.address for backend in service.stats.backends)
        say(f"broker of {service.name} at {service.address}, for {backends}")


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End as a service is asked to; the broker is closed on the way."""
    sys.exit(0)


def _show(broker: Broker, every: float) -> None:
    rates = _Rates()
    with Live(console=Console(), auto_refresh=False) as live:
        while not broker.wait(every):
            table = Table(*_COLUMNS)
            for row in rates.rows(broker.stats):
                table.add_row(*map(Text, row))  # as it is: a str in brackets is markup
            live.update(Group(table, *map(Text, _lines(broker.stats))), refresh=True)


def _print(broker: Broker, every: float, as_json: bool) -> None:
    rates = _Rates()
    while not broker.wait(every):
        now = broker.stats
        if as_json:
            print(json_text.dumps(dataclasses.asdict(now)), flush=True)
            continue
        nothing = [] if now.topics is None else [("nothing came",)]
        for name, *values in rates.rows(now) or nothing:
            told = ", ".join(f"{value} {what}" for what, value in zip(_COLUMNS[1:], values, strict=False))
            print(f"{name}: {told}" if told else name, flush=True)
        for line in _lines(now):
            print(line, flush=True)


def _lines(stats: BrokerStats) -> list[str]:
    """Return what is told beside the topics."""
    lines = [_line(service) for service in stats.services.items()]
    if (last := stats.last_values) is None:
        return lines
    told = f"{last.topics} topics, {last.bytes} bytes, {last.given} given, {last.forgotten} forgotten"
    return [f"last values: {told}, {last.missed} missed", *lines]


def _line(service: tuple[str, ServiceStats]) -> str:
    """Return what is told of a service."""
    name, stats = service
    counts = {key: value for key, value in dataclasses.asdict(stats).items() if isinstance(value, int)}
    connected = sum(each.state == "connected" for each in stats.backends)
    told = ", ".join(f"{value} {what}" for what, value in counts.items())
    return f"{printable(name)}: {told}; {connected} of {len(stats.backends)} services connected"


class _Rates:
    """Compare counts with those of the last time."""

    def __init__(self) -> None:
        self._before: dict[str, TopicStats] = {}
        self._at = time.monotonic()

    def rows(self, stats: BrokerStats) -> list[tuple[str, ...]]:
        """Return a row for each topic, as `_COLUMNS` says."""
        seconds, self._at = time.monotonic() - self._at, time.monotonic()
        before, self._before = self._before, dict(stats.topics or {})
        return [self._row(name, topic, before.get(name, TopicStats()), seconds) for name, topic in self._before.items()]

    @staticmethod
    def _row(name: str, now: TopicStats, before: TopicStats, seconds: float) -> tuple[str, ...]:
        rate = (now.messages - before.messages) / seconds
        megabytes = (now.bytes - before.bytes) / seconds / _MEGA
        counts = (now.messages, now.dropped, now.refused, now.subscribers)
        return (printable(name), f"{rate:.1f}", f"{megabytes:.2f}", *map(str, counts))
