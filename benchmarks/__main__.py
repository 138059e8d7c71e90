"""The command: `python -m benchmarks [case ...] [--quick]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES, Case
from benchmarks.contest import Effort, Outcome, contest
from benchmarks.pair import Failure
from benchmarks.profile import profile
from benchmarks.startup import idle_memory, import_time

ALONE = {"import": import_time, "memory": idle_memory, "profile": profile}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Measure what was asked for, print the table, and keep it if it is complete."""
    groups = [*dict.fromkeys(case.group for case in CASES), *ALONE]
    names = [*groups, *(case.name for case in CASES if case.name not in groups)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=report.WINDOW)
    parser.add_argument("case", nargs="*", help=f"one of {', '.join(names)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="a few short slices: a first look")
    parser.add_argument("--results", type=Path, help="keep the table here (a complete run keeps it anyway)")
    options = parser.parse_args()
    if unknown := [name for name in options.case if name not in names]:
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(names)}")
    facts, failures = report.machine(), dict[str, str]()
    if options.quick:
        facts["run"] = "quick, not for comparing"
    outcomes = _measure(options.case or groups, options.quick, failures)
    _progress("")
    print("\n" + report.text(facts, outcomes, failures))
    if directory := options.results or (None if options.case or options.quick else RESULTS):
        report.keep(directory, facts, outcomes, failures)
    return 1 if failures else 0


def _measure(chosen: list[str], quick: bool, failures: dict[str, str]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    tasks: dict[str, Callable[[], list[Outcome]]] = {}
    for case in CASES:
        if case.name in chosen or case.group in chosen:
            effort = _effort(case, quick=quick)
            tasks[case.name] = lambda case=case, effort=effort: [contest(case, effort, _progress)]  # type: ignore[misc]
    for name, measure in ALONE.items():
        if name in chosen:
            tasks[name] = lambda measure=measure: measure(3 if quick else 11, _progress)  # type: ignore[misc]
    for name, task in tasks.items():
        try:
            outcomes += task()
        except (Failure, subprocess.SubprocessError) as error:
            failures[name] = str(error)
    return outcomes


def _effort(case: Case, *, quick: bool) -> Effort:
    if quick:
        return Effort(1, 2, 0.7 if case.pace else 0.2)
    if case.few:
        return Effort(1, 3, 0.7) if case.pace else Effort(1, 4, 0.3)
    return Effort(2, 2, 1.0) if case.pace else Effort(5, 2, 0.4)


def _progress(line: str) -> None:
    print("\r" + line.ljust(78), end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
