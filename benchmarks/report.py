"""Results as a table for people, and as JSON."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import zmq

from benchmarks.contest import Comparison, Figure, Outcome, Standing

HEADER = ("case", "contender", "median", "quartiles", "p99", "CPU us/message", "ours / its", "mark", "")
WINDOW = (
    "Outstanding are at most 400 small messages (below the high-water mark of 1,000), in batches of 100, or 4 frames. "
    "Ratios are medians over neighbouring slices in several sittings with new processes, quartiles in brackets; CPU is "
    "that of the sender + the receiver, all threads; request/response and one-way times are medians of each slice."
)


def machine() -> dict[str, str]:
    """Say what this was measured on, and with."""
    packages = ("eis-msgbus", "pyzmq", "msgspec", "orjson", "numpy")
    peers = ("eclipse-zenoh", "iceoryx2", "pynng", "eclipse-ecal")
    facts = {"date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")}
    facts["machine"] = f"{_processor()}, {os.cpu_count()} cores, {platform.machine()}"
    facts["kernel"] = f"{platform.system()} {platform.release()}"
    facts["Python"] = platform.python_version()
    facts["libzmq"] = zmq.zmq_version()
    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    found = [*packages, *(peer for peer in peers if peer in installed)]
    return facts | {package: importlib.metadata.version(package) for package in found}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def text(facts: dict[str, str], outcomes: Sequence[Outcome], failures: dict[str, str]) -> str:
    """Return the table, and what stands around it, in Markdown."""
    rows = [row for outcome in outcomes for row in _rows(outcome)]
    about = ", ".join(f"{name} {fact}" for name, fact in facts.items())
    broken = "".join(f"\n{name} failed: {why}\n" for name, why in failures.items())
    return f"{about}.\n\n{_table([HEADER, *rows])}\n{WINDOW}\n{broken}"


def _rows(outcome: Outcome) -> list[tuple[str, ...]]:
    rows = [
        (name, *_standing(outcome.unit, standing), *_comparison(outcome, name))
        for name, standing in outcome.standings.items()
    ]
    rows += [(name, why, *[""] * (len(HEADER) - 3)) for name, why in outcome.missing.items()]
    return [(outcome.title if row is rows[0] else "", *row) for row in rows]


def _standing(unit: str, standing: Standing) -> tuple[str, ...]:
    value, p99 = standing.value, standing.p99
    cpu = f"{standing.cpu[0]:.1f} + {standing.cpu[1]:.1f}" if any(standing.cpu) else ""
    return (
        f"{_number(value.median)} {unit.partition(' ')[0]}",
        _quartiles(value),
        "" if p99 is None else _number(p99),
        cpu,
    )


def _comparison(outcome: Outcome, name: str) -> tuple[str, ...]:
    """Return the comparison of the case's subject with this peer, or of this one with what it is held against."""
    subject = next(iter(outcome.standings))
    for comparison in outcome.comparisons:
        if comparison.subject == subject and comparison.peer == name:
            return _compared(outcome.unit, comparison, "")
        if comparison.subject == name != subject:
            return _compared(outcome.unit, comparison, f" of {comparison.peer}")
    return ("", "", "")


def _compared(unit: str, comparison: Comparison, of: str) -> tuple[str, str, str]:
    ratio, mark, reached = comparison.ratio, comparison.mark, comparison.reached
    if unit in ("ms", "MB"):
        return f"{ratio.median:+.1f} {unit}", _mark("<", mark, unit), _said(reached)
    sign = ">=" if unit == "1/s" else "<="
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]{of}", _mark(sign, mark, ""), _said(reached)


def _mark(sign: str, mark: float | None, unit: str) -> str:
    return "" if mark is None else f"{sign} {mark:g} {unit}".strip()


def _said(reached: bool | None) -> str:
    return "" if reached is None else "reached" if reached else "MISSED"


def _quartiles(value: Figure) -> str:
    return f"{_number(value.low)} to {_number(value.high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def keep(directory: Path, facts: dict[str, str], outcomes: Sequence[Outcome], failures: dict[str, str]) -> None:
    """Write both forms, named after the day."""
    directory.mkdir(parents=True, exist_ok=True)
    day = facts["date"].split()[0]
    (directory / f"{day}.md").write_text(f"# Results of {day}\n\n" + text(facts, outcomes, failures))
    record = {"facts": facts, "outcomes": [asdict(outcome) for outcome in outcomes], "failures": failures}
    (directory / f"{day}.json").write_text(json.dumps(record, indent=1) + "\n")
