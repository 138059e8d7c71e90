"""Figures to text: a table, JSON, bars in SVG. No processes, no clocks, no sockets."""

import json
import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from eis.msgbus.tools.bench.cases import SIZES, Case
from eis.msgbus.tools.bench.workers import Figures
from eis.msgbus.tools.svg import Svg, width_of

__all__ = ["as_json", "bars", "notes", "table"]

Found = Mapping[Case, Figures]

_HOW = {"shared": "in shared memory", "whole": "through the socket"}
_NOTES = (
    "one publisher and one subscriber, or one service and one requester, each a process of its own",
    "messages/s: as many as the subscriber takes; frames are neither filled nor read",
    "p50 ms: the median from publish until it is taken out of the socket, at 200 in a second (30 from 1 MB on);",
    "of requests until the answer is there",
)
_BAR = 230.0
_COLORS = ("#3d6fb4", "#d1341f")
_LINE, _TITLE, _MARGIN, _HEAD = 19.0, 26.0, 24.0, 78.0


def table(found: Found) -> Table:
    """Return the table."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("size", "way", "messages/s", "MB/s", "p50 ms", "came", "lost"):
        shown.add_column(title, justify="left" if title in ("size", "way", "came") else "right", no_wrap=True)
    size = ""
    for case, figures in found.items():
        if size not in ("", kind := _kind(case)):
            shown.add_section()
        megabytes = f"{_megabytes(case, figures):.1f}" if SIZES[case.size] else ""
        cells = (_rate(figures), megabytes, _time(figures), _HOW.get(figures.form, figures.form), str(figures.lost))
        shown.add_row("" if kind == size else kind, case.title, *cells)
        size = kind
    return shown


def notes(facts: Mapping[str, str]) -> list[str]:
    """Return what the table does not say by itself."""
    return [*_NOTES, ", ".join(f"{name} {value}" for name, value in facts.items())]


def as_json(found: Found, facts: Mapping[str, str]) -> str:
    """Return all figures as a JSON document; what could not be known is null."""
    rows = [
        {
            "kind": "requests" if case.requests else "stream",
            "way": case.way,
            "in_place": case.in_place,
            "bytes": SIZES[case.size],
            "messages_per_second": _known(figures.rate),
            "latency_p50_ms": _known(figures.p50 * 1000),
            "form": figures.form,
            "lost": figures.lost,
        }
        for case, figures in found.items()
    ]
    return json.dumps({"facts": dict(facts), "results": rows}, indent=2)


def bars(found: Found, facts: Mapping[str, str]) -> str:
    """Return bars of rates and times; those of one size have the same scale."""
    groups: dict[str, list[tuple[Case, Figures]]] = {}
    for case, figures in found.items():
        groups.setdefault(_kind(case), []).append((case, figures))
    svg = Svg()
    left = _MARGIN + max((width_of(case.title, 12) for case in found), default=0) + 12
    columns = (left, left + _BAR + 90)
    y = _head(svg, columns)
    for kind, rows in groups.items():
        svg.text(_MARGIN, y, kind, bold=True)
        largest = [max(values) for values in zip(*map(_values, rows), strict=True)]
        for row in rows:
            y += _LINE
            svg.text(left - 10, y, row[0].title, anchor="end")
            for x, value, most, text, color in zip(
                columns, _values(row), largest, _texts(row[1]), _COLORS, strict=True
            ):
                length = value / most * _BAR if most else 0
                svg.box(x, y - 11, length, 14, fill=color, corner=2)
                svg.text(x + length + 6, y, text, size=11)
        y += _TITLE
    width = columns[1] + _BAR + 90
    for line in _wrapped([f"{name} {value}" for name, value in facts.items()], width - 2 * _MARGIN):
        svg.text(_MARGIN, y, line, size=10, fill="#777")
        y += 15
    return svg.page(width, y)


def _head(svg: Svg, columns: tuple[float, float]) -> float:
    svg.text(_MARGIN, 30, "eis-msgbus on this machine, between two processes", size=15, bold=True)
    titles = ("messages (or requests) in a second", "median time in ms")
    for x, title, color in zip(columns, titles, _COLORS, strict=True):
        svg.text(x, 56, title, fill=color)
    return _HEAD


def _wrapped(words: list[str], width: float) -> list[str]:
    lines = [""]
    for word in words:
        joined = f"{lines[-1]}, {word}" if lines[-1] else word
        if width_of(joined, 10) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def _kind(case: Case) -> str:
    return "requests" if case.requests else case.size


def _values(row: tuple[Case, Figures]) -> tuple[float, float]:
    figures = row[1]
    return 0.0 if math.isnan(figures.rate) else figures.rate, figures.p50


def _texts(figures: Figures) -> tuple[str, str]:
    return _rate(figures), _time(figures)


def _rate(figures: Figures) -> str:
    return "?" if math.isnan(figures.rate) else f"{figures.rate:,.0f}"


def _time(figures: Figures) -> str:
    return f"{figures.p50 * 1000:.3f}"


def _megabytes(case: Case, figures: Figures) -> float:
    return SIZES[case.size] * figures.rate / 1e6


def _known(value: float) -> Any:
    return None if math.isnan(value) else round(value, 4)
