"""What the viewer counts: rates, latencies, losses, CPU. No text, no sockets, no clocks."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from eis.msgbus.tools.demo.messages import End, Progress, Result
from eis.msgbus.tools.demo.sequence import Sequence

_KEPT = 54_000
"""Latencies that are kept: half an hour at 30 per second."""


class Moment(NamedTuple):
    """Say how far each process was at one result."""

    ingestion: Progress
    analytics: Progress
    viewer: Progress


class Row(NamedTuple):
    """Hold the figures of one process between two moments; latencies are since the frame was sent."""

    process: str
    frames_per_second: float
    gigabytes_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_percent: float
    frames: int
    lost: int | None


class Figures:
    """Gather the figures of a run; before its `end`, losses are those known so far."""

    def __init__(self) -> None:
        self.first: Moment | None = None
        self.last: Moment | None = None
        self.result: Result | None = None
        self.lost_frames = 0
        self.missing = ""
        self.ended = False
        self._results = Sequence()
        self._arrivals: deque[int] = deque(maxlen=_KEPT)
        self._ends: deque[int] = deque(maxlen=_KEPT)

    def add(self, result: Result, viewer: Progress) -> None:
        """Take note of a result; `viewer.at_ns` is when it arrived."""
        self.last = Moment(result.ingestion, result.analytics, viewer)
        self.first = self.first or self.last
        self.result = result
        self.lost_frames = result.lost
        self._results.see(result.analytics.frames)
        self._arrivals.append(result.received_ns - result.sent_ns)
        self._ends.append(viewer.at_ns - result.sent_ns)

    def end(self, end: End) -> None:
        """Take note of the end: only now it is known whether the last ones are missing."""
        self._results.end(end.end_of_stream)
        self.ended = True
        self.lost_frames, self.missing = end.lost, end.missing

    @property
    def seconds(self) -> float:
        """Return the seconds between the first and the last result."""
        return _seconds(self.first.viewer, self.last.viewer) if self.first and self.last else 0.0

    @property
    def received(self) -> int:
        """Return how many results arrived."""
        return self._results.seen

    @property
    def lost_results(self) -> int:
        """Return how many results did not arrive, or not in their turn."""
        return self._results.lost + self._results.disordered

    @property
    def lost(self) -> int:
        """Return how many frames and results did not arrive."""
        return self.lost_frames + self.lost_results

    def rows(self, since: Moment | None = None) -> list[Row]:
        """Return a row for each process: rates and CPU since that moment or the first, the rest since the start."""
        if not (self.first and self.last):
            return []
        before = since or self.first
        latencies: tuple[Iterable[int], ...] = (), self._arrivals, self._ends
        losses = None, self.lost_frames, self.lost_results
        return [
            _row(name, then, now, waits, lost)
            for name, then, now, waits, lost in zip(Moment._fields, before, self.last, latencies, losses, strict=True)
        ]


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return the smallest value that `percent` of them do not exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)] if ordered else None


def _row(name: str, then: Progress, now: Progress, latencies: Iterable[int], lost: int | None) -> Row:
    seconds = _seconds(then, now) or 1.0
    p50, p99 = (percentile((wait / 1e6 for wait in latencies), percent) for percent in (50, 99))
    return Row(
        process=name,
        frames_per_second=(now.frames - then.frames) / seconds,
        gigabytes_per_second=(now.bytes - then.bytes) / seconds / 1e9,
        p50_ms=p50,
        p99_ms=p99,
        cpu_percent=(now.cpu_ns - then.cpu_ns) / seconds / 1e7,
        frames=now.frames,
        lost=lost,
    )


def _seconds(then: Progress, now: Progress) -> float:
    return (now.at_ns - then.at_ns) / 1e9
