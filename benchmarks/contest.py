"""Let contenders do slices of their work in turn, and compare neighbours."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.cases import OURS, Case
from benchmarks.pair import Pair, Slice
from benchmarks.place import new_place

_LIMIT = 60.0  # seconds for a case
_SLICE_LIMIT = 15.0


@dataclasses.dataclass(frozen=True)
class Effort:
    """Say how long to measure: so many sittings with new processes, of `rounds` of slices of so many `seconds`."""

    sittings: int
    rounds: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Figure:
    """Hold a median and the quartiles around it."""

    median: float
    low: float
    high: float


def figure(values: list[float]) -> Figure:
    """Return the median and the quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return Figure(median, low, high)


@dataclasses.dataclass(frozen=True)
class Standing:
    """What one contender reached: messages per second, or microseconds; CPU microseconds per message of both sides."""

    value: Figure
    cpu: tuple[float, float]
    p99: float | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Ours divided by a peer's, and the mark."""

    ratio: Figure
    mark: float | None
    reached: bool | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a case."""

    name: str
    title: str
    unit: str
    standings: dict[str, Standing]
    comparisons: dict[str, Comparison]


def contest(case: Case, effort: Effort, progress: Callable[[str], None]) -> Outcome:
    """Measure a case.

    Raises:
        Failure: a process failed or did not finish in time; all are gone.
    """
    end = time.monotonic() + _LIMIT
    slices: dict[str, list[Slice]] = {name: [] for name in case.contenders}
    for sitting in range(effort.sittings):
        with ExitStack() as stack:
            pairs = _open(case, stack)
            sizes = {name: _warm_up(case, pair, effort) for name, pair in pairs.items()}
            for number in range(effort.rounds):
                progress(f"{case.name}: round {sitting * effort.rounds + number + 1}")
                for name, pair in pairs.items():
                    slices[name].append(pair.run(sizes[name], min(_SLICE_LIMIT, end - time.monotonic())))
    return _outcome(case, slices)


def _open(case: Case, stack: ExitStack) -> dict[str, Pair]:
    pairs = {}
    for name, roles in case.contenders.items():
        place = new_place(case.mode, stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        pairs[name] = stack.enter_context(Pair(roles, place, case.window))
    for pair in pairs.values():
        pair.ready()
    return pairs


def _warm_up(case: Case, pair: Pair, effort: Effort) -> int:
    """Return how many messages make a slice."""
    messages = case.window.size
    for seconds in (effort.seconds / 3, effort.seconds):
        rate = pair.run(messages, _SLICE_LIMIT).rate
        messages = max(1, round((case.pace or rate) * seconds / case.window.size)) * case.window.size
    return messages


def _outcome(case: Case, slices: dict[str, list[Slice]]) -> Outcome:
    values = {name: [_value(case, each) for each in them] for name, them in slices.items()}
    standings = {name: _standing(case, values[name], them) for name, them in slices.items()}
    comparisons = {}
    for peer in [name for name in values if name != OURS]:
        ratio = figure([mine / its for mine, its in zip(values[OURS], values[peer], strict=True)])
        mark = case.marks.get(peer)
        reached = None if mark is None else ratio.median <= mark if case.timed else ratio.median >= mark
        comparisons[peer] = Comparison(ratio, mark, reached)
    return Outcome(case.name, case.title, "us" if case.timed else "1/s", standings, comparisons)


def _value(case: Case, each: Slice) -> float:
    return statistics.median(each.times) / 1000 if case.timed else each.rate


def _standing(case: Case, values: list[float], slices: list[Slice]) -> Standing:
    cpu = [statistics.median(each.cpu[side] / each.messages * 1e6 for each in slices) for side in (0, 1)]
    p99 = None
    if case.timed:
        times = sorted(time for each in slices for time in each.times)
        p99 = times[int(len(times) * 0.99)] / 1000
    return Standing(figure(values), (cpu[0], cpu[1]), p99)
