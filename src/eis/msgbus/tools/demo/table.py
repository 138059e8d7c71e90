"""Figures to text: a table for people, a line for logs, JSON for programs. No sockets, no clocks, no terminal."""

from typing import Any, NamedTuple

import msgspec

from eis.msgbus.tools.demo.figures import Figures, Moment, Row

_HEAD = (
    f"{'process':<10} {'frames/s':>9} {'GB/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU %':>7} {'frames':>8} {'lost':>6}"
)

_FORMS = {"shared": "in shared memory", "whole": "through the socket", "plain": "through the socket, unnumbered"}


class Facts(NamedTuple):
    """Say what the figures do not: how frames travel, and how requests for snapshots fared."""

    mode: str
    asked: int
    answered: int
    answer_ms: float | None


def table(figures: Figures, facts: Facts, since: Moment | None = None) -> list[str]:
    """Return the lines of the table, none wider than 79 characters; rates are since that moment."""
    return [
        *_title(figures, facts),
        "",
        _HEAD,
        "-" * len(_HEAD),
        *map(_line, figures.rows(since)),
        "",
        "p50, p99: from the sending of a frame until it, or its result, arrived",
        _form(figures),
        _snapshots(facts),
        verdict(figures),
    ]


def line(figures: Figures, since: Moment | None = None) -> str:
    """Return the figures in one line."""
    rows = figures.rows(since)
    if not rows:
        return "waiting for the first result"
    ingestion, analytics, viewer = rows
    cpu = "/".join(f"{row.cpu_percent:.0f}" for row in rows)
    return (
        f"{figures.seconds:6.1f} s  {viewer.frames_per_second:5.1f} frames/s  {ingestion.gigabytes_per_second:.3f} GB/s"
        f"  analytics {_latency(analytics)}  viewer {_latency(viewer)}  lost {figures.lost}  CPU {cpu} %"
    )


def verdict(figures: Figures) -> str:
    """Return a line that says whether anything is lost."""
    so_far = "" if figures.ended else "so far "
    if not figures.lost:
        return f"{so_far}nothing lost: {figures.received} frames, {figures.received} results"
    missing = f" (number {figures.missing})" if figures.missing else ""
    return f"{so_far}LOST: {figures.lost_frames} frames{missing}, {figures.lost_results} results"


def to_json(figures: Figures, facts: Facts) -> bytes:
    """Return all figures as a JSON document."""
    document: dict[str, Any] = {
        "mode": facts.mode,
        "form": figures.result.form if figures.result else "",
        "seconds": figures.seconds,
        "lost": figures.lost,
        "missing": figures.missing,
        "snapshots": {"asked": facts.asked, "answered": facts.answered, "p50_ms": facts.answer_ms},
        "processes": {row.process: _figures(row) for row in figures.rows()},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _figures(row: Row) -> dict[str, Any]:
    return {name: figure for name, figure in row._asdict().items() if name != "process"}


def _title(figures: Figures, facts: Facts) -> list[str]:
    result = figures.result
    size = f"{result.width} x {result.height} " if result else ""
    return [
        f"eis.msgbus demo, {figures.seconds:.1f} s",
        f"{size}frames over {facts.mode}; results, snapshots over zmq_tcp with CURVE",
    ]


def _line(row: Row) -> str:
    p50, p99 = ("" if wait is None else f"{wait:.1f}" for wait in (row.p50_ms, row.p99_ms))
    lost = "" if row.lost is None else row.lost
    return (
        f"{row.process:<10} {row.frames_per_second:>9.1f} {row.gigabytes_per_second:>8.3f} {p50:>8} {p99:>8}"
        f" {row.cpu_percent:>7.0f} {row.frames:>8} {lost:>6}"
    ).rstrip()


def _form(figures: Figures) -> str:
    form = figures.result.form if figures.result else ""
    return f"frames come {_FORMS.get(form, 'as nobody knows yet')}"


def _snapshots(facts: Facts) -> str:
    time = f", p50 {facts.answer_ms:.1f} ms" if facts.answer_ms is not None else ""
    return f"snapshots: {facts.answered} of {facts.asked} answered{time}"


def _latency(row: Row) -> str:
    return f"{row.p50_ms:.1f}/{row.p99_ms:.1f} ms"
