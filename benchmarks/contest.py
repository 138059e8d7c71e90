"""Let contenders do slices of their work in turn, and compare neighbours."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from benchmarks.cases import Case
from benchmarks.contenders import GUESTS
from benchmarks.pair import Failure, Missing, Pair, Slice
from benchmarks.place import new_place

T = TypeVar("T")

_LIMIT = 120.0  # seconds for a case
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
    """What one contender reached: what the case measures; CPU microseconds per message of both sides; messages/s."""

    value: Figure
    cpu: tuple[float, float]
    p99: float | None = None
    rate: float | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What the subject reached divided by what the peer did, and the mark."""

    subject: str
    peer: str
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
    comparisons: list[Comparison]
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    """Who could not be measured, and why."""


def contest(case: Case, effort: Effort, progress: Callable[[str], None]) -> Outcome:
    """Measure a case.

    Raises:
        Failure: a process failed or did not finish in time; all are gone.
    """
    end = time.monotonic() + _LIMIT
    slices: dict[str, list[Slice]] = {name: [] for name in case.contenders}
    missing: dict[str, str] = {}
    for sitting in range(effort.sittings):
        with ExitStack() as stack:
            trial = _Trial(case, missing)
            pairs = _open(trial, stack)
            sizes = {name: trial.ask(name, partial(_warm_up, case, pair, effort)) for name, pair in pairs.items()}
            for number in range(effort.rounds):
                progress(f"{case.name}: round {sitting * effort.rounds + number + 1}")
                for name, size in sizes.items():
                    limit = min(_SLICE_LIMIT, end - time.monotonic())
                    if size and (done := trial.ask(name, partial(pairs[name].run, size, limit))):
                        slices[name].append(done)
    return _outcome(case, {name: them for name, them in slices.items() if name not in missing}, missing)


class _Trial:
    """Ask contenders, and leave out who is missing: it has no such thing, or is a guest that fails."""

    def __init__(self, case: Case, missing: dict[str, str]) -> None:
        self.case = case
        self.missing = missing

    def ask(self, name: str, what: Callable[[], T]) -> T | None:
        """Return what a contender did, None if it is missing."""
        if name in self.missing:
            return None
        try:
            return what()
        except Missing as reason:
            self.missing[name] = str(reason)
        except Failure as reason:
            if name not in GUESTS:
                raise Failure(f"{name}: {reason}") from reason
            self.missing[name] = f"failed: {str(reason).strip().splitlines()[-1]}"
        return None


def _open(trial: _Trial, stack: ExitStack) -> dict[str, Pair]:
    case, pairs = trial.case, {}
    for name, roles in case.contenders.items():
        if name not in trial.missing:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
            place = new_place(case.mode, directory, case.subscribers.get(name, 1))
            pairs[name] = stack.enter_context(Pair(roles, place, case.window))
    for name, pair in pairs.items():
        trial.ask(name, pair.ready)
    return pairs


def _warm_up(case: Case, pair: Pair, effort: Effort) -> int:
    """Return how many messages make a slice: one that was tried, and took about as long as it should."""
    size = case.window.size
    if case.pace:
        pair.run(-(-case.pace // (4 * size)) * size, _SLICE_LIMIT)
        return max(1, round(case.pace * effort.seconds / size)) * size
    messages = size
    while (done := pair.run(messages, _SLICE_LIMIT)).seconds < effort.seconds / 2:  # the first ones are slow
        messages = max(2 * messages, round(done.rate * effort.seconds / size) * size)
    return max(1, round(done.rate * effort.seconds / size)) * size


def _outcome(case: Case, slices: dict[str, list[Slice]], missing: dict[str, str]) -> Outcome:
    values = {name: [_value(case, each) for each in them] for name, them in slices.items()}
    standings = {name: _standing(case, values[name], them) for name, them in slices.items()}
    comparisons = []
    for subject, peer, mark in case.comparisons:
        if subject in values and peer in values:
            ratio = figure([mine / its for mine, its in zip(values[subject], values[peer], strict=True)])
            reached = None if mark is None else ratio.median >= mark if case.unit == "1/s" else ratio.median <= mark
            comparisons.append(Comparison(subject, peer, ratio, mark, reached))
    return Outcome(case.name, case.title, case.unit, standings, comparisons, missing)


def _value(case: Case, each: Slice) -> float:
    if case.unit == "us":
        return statistics.median(each.times) / 1000
    return each.rate if case.unit == "1/s" else each.cpu[0] / each.messages * 1e6


def _standing(case: Case, values: list[float], slices: list[Slice]) -> Standing:
    cpu = [statistics.median(each.cpu[side] / each.messages * 1e6 for each in slices) for side in (0, 1)]
    p99 = None
    if case.unit == "us":
        times = sorted(time for each in slices for time in each.times)
        p99 = times[int(len(times) * 0.99)] / 1000
    return Standing(figure(values), (cpu[0], cpu[1]), p99, statistics.median(each.rate for each in slices))
