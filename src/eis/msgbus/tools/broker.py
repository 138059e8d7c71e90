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
from rich.console import Console
from rich.live import Live
from rich.table import Table

from eis.msgbus.broker import Broker, BrokerStats, TopicStats, read
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
        say(f"broker between {broker.frontend.plan.address} and {broker.backend.plan.address}")
        if not stats:
            broker.wait()
        elif sys.stdout.isatty() and not json:
            _show(broker, every)
        else:
            _print(broker, every, json)


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End as a service is asked to; the broker is closed on the way."""
    sys.exit(0)


def _show(broker: Broker, every: float) -> None:
    rates = _Rates()
    with Live(console=Console(), auto_refresh=False) as live:
        while not broker.wait(every):
            table = Table(*_COLUMNS)
            for row in rates.rows(broker.stats):
                table.add_row(*row)
            live.update(table, refresh=True)


def _print(broker: Broker, every: float, as_json: bool) -> None:
    rates = _Rates()
    while not broker.wait(every):
        now = broker.stats
        if as_json:
            print(json_text.dumps(dataclasses.asdict(now)), flush=True)
            continue
        for name, *values in rates.rows(now) or [("nothing came",)]:
            told = ", ".join(f"{value} {what}" for what, value in zip(_COLUMNS[1:], values, strict=False))
            print(f"{name}: {told}" if told else name, flush=True)


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
