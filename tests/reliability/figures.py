"""What each row of the reliability plan showed: kept while it runs, and read back as a table."""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.reliability.rows import ROWS

__all__ = ["Figure", "keep", "milliseconds", "read", "table"]

HEADER = ("what is done", "part", "attempts", "failed", "95 % bound", "seen", "target")


@dataclasses.dataclass(frozen=True)
class Figure:
    """Hold what one test of a row showed; `part` says which one, where a row has several."""

    row: str
    part: str
    attempts: int
    failed: int
    seen: str

    def __str__(self) -> str:
        name = f"{self.row} {self.part}".strip()
        return f"{name}: {self.failed} of {self.attempts:,} failed" + (f"; {self.seen}" if self.seen else "")

    @property
    def bound(self) -> str:
        """Return how likely a failure may still be when none was seen (the rule of three), in 95 of 100 such runs."""
        return "" if self.failed else f"< {_rounded_up(3 / self.attempts)}" if self.attempts >= 30 else "-"

    def cells(self, *, first: bool) -> tuple[str, ...]:
        """Return the figure as cells of a table; the first one of a row says what the row is."""
        done, target = (ROWS[self.row].done, ROWS[self.row].target) if first else ("", "")
        name = f"**{self.row}** {done}" if first else ""
        return name, self.part, f"{self.attempts:,}", str(self.failed), self.bound, self.seen, target


def _rounded_up(share: float) -> str:
    """Return a number with one digit, in plain decimals."""
    digits = -math.floor(math.log10(share))
    return f"{math.ceil(share * 10**digits - 1e-9) / 10**digits:.{digits}f}"


def keep(figure: Figure) -> None:
    """Append a figure to the file of this run, if there is one."""
    if file := os.environ.get("RELIABILITY_FIGURES"):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(dataclasses.asdict(figure)) + "\n")


def read(lines: Iterable[str]) -> list[Figure]:
    """Return the figures of a run, in the order of the plan."""
    names = list(ROWS)
    figures = [Figure(**json.loads(line)) for line in lines]
    return sorted(figures, key=lambda figure: (names.index(figure.row), figure.part))


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a table in Markdown."""
    firsts = [index == 0 or figures[index - 1].row != figure.row for index, figure in enumerate(figures)]
    cells = [figure.cells(first=first) for figure, first in zip(figures, firsts, strict=True)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [HEADER, ("---",) * len(HEADER), *cells])


def milliseconds(times: Sequence[float]) -> str:
    """Return the median and the 99th percentile of some seconds."""
    ordered = sorted(times)
    return f"{ordered[len(ordered) // 2] * 1000:.0f} ms, p99 {ordered[len(ordered) * 99 // 100] * 1000:.0f} ms"
