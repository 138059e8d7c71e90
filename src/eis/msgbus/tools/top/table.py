"""Rows to text: a table for a terminal, lines for logs, JSON for programs. No sockets, no clocks, no terminal."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from eis.msgbus.tools.stderr import printable
from eis.msgbus.tools.top.watched import Row

__all__ = ["Order", "as_json", "lines", "ordered", "table"]

Order = Literal["name", "rate", "latency", "lost"]

_HEAD = ("TOPIC", "MESSAGES/S", "FRAMES MB/S", "LATENCY MS", "SUBS", "LOST", "RESTARTS", "FORM", "STATUS", "FROM")
_WIDTHS = (24, 10, 11, 10, 5, 6, 8, 8, 12, 0)
_FIGURES = range(1, 7)
_WIDE, _ONLY_WIDE = 110, (6, 7, 9)  # characters; the columns for which a narrower terminal has no room
_NOTE = (
    "frames: raw, as their metadata describe them; latency: the median; subs: other subscribers; lost: on the way here"
)
_GOOD = ("connected",)
_BAD = ("denied", "failed", "no publisher")

_KEYS: dict[Order, Callable[[Row], Any]] = {
    "name": lambda row: row.topic,
    "rate": lambda row: -row.rate,
    "latency": lambda row: -(row.latency or 0),
    "lost": lambda row: -(row.lost or 0),
}


def ordered(rows: Sequence[Row], order: Order) -> list[Row]:
    """Return subscriptions in an order, each followed by its topics in the same order."""
    groups: list[list[Row]] = []
    for row in rows:
        if row.part:
            groups[-1].append(row)
        else:
            groups.append([row])
    groups.sort(key=lambda group: _KEYS[order](group[0]))
    return [row for whole, *parts in groups for row in (whole, *sorted(parts, key=_KEYS[order]))]


def table(rows: Iterable[Row], width: int) -> Table:
    """Return a table for a terminal that is so wide."""
    shown = Table(box=box.SIMPLE_HEAD, caption=_NOTE, caption_justify="left", pad_edge=False)
    columns = [index for index in range(len(_HEAD)) if width >= _WIDE or index not in _ONLY_WIDE]
    for index in columns:
        shown.add_column(_HEAD[index], justify="right" if index in _FIGURES else "left", no_wrap=True)
    for row in rows:
        cells = [Text(cell) for cell in _cells(row)]
        cells[0].stylize("" if row.part else "bold")
        cells[5].stylize("red" if row.lost else "")
        cells[8].stylize("green" if row.state in _GOOD else "red" if row.state in _BAD else "yellow")
        cells[9].stylize("dim")
        shown.add_row(*(cells[index] for index in columns))
    return shown


def lines(rows: Sequence[Row], _: float) -> Iterator[str]:
    """Return the lines of a report: the heads of the columns, and a line for each row."""
    for cells in (_HEAD, *map(_cells, rows)):
        padded = [
            cell.rjust(width) if index in _FIGURES else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
        ]
        yield " ".join(padded).rstrip()


def as_json(rows: Sequence[Row], seconds: float) -> Iterator[str]:
    """Return a report as one line of JSON."""
    subscriptions: list[dict[str, Any]] = []
    for row in rows:
        if row.part:
            subscriptions[-1]["names"].append({"name": row.topic, **_figures(row)})
        else:
            subscriptions.append(_subscription(row))
    yield json.dumps({"seconds": round(seconds, 3), "topics": subscriptions})


def _subscription(row: Row) -> dict[str, Any]:
    connection = {"lost": row.lost, "restarts": row.restarts, "form": row.form}
    state = {"status": row.state, "reason": row.reason}
    return {"topic": row.topic, "from": row.source, **_figures(row), **connection, **state, "names": []}


def _figures(row: Row) -> dict[str, float | None]:
    return {
        "messages_per_second": round(row.rate, 2),
        "frame_megabytes_per_second": None if row.frame_megabytes is None else round(row.frame_megabytes, 3),
        "latency_ms": None if row.latency is None else round(row.latency * 1000, 3),
        "subscribers": row.subscribers,
    }


def _cells(row: Row) -> tuple[str, ...]:
    name = f"  {printable(row.topic)}" if row.part else printable(row.topic) or "(all topics)"
    return (
        name,
        f"{row.rate:.1f}",
        "" if row.frame_megabytes is None else f"{row.frame_megabytes:.1f}",
        "" if row.latency is None else f"{row.latency * 1000:.2f}",
        "" if row.subscribers is None else str(row.subscribers),
        *("" if value is None else str(value) for value in (row.lost, row.restarts, row.form, row.state)),
        "" if row.part else printable(row.source),
    )
