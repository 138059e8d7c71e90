"""What a long command tells: on stderr how far it is, a line that changes on a terminal, and on stdout its result.

Knows no command.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Annotated, Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from eis.msgbus.tools.stderr import printable, say

__all__ = ["Progressing", "Report"]

_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Do not show how far it is.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]

_EVERY = 10.0  # seconds from line to line where stderr is no terminal


class Progressing:
    """Show how far it is, within a `with` block."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._next = time.monotonic() + _EVERY
        self._bar: Progress | None = None
        if not quiet and sys.stderr.isatty():
            self._bar = Progress(
                BarColumn(20), TextColumn("{task.description}", markup=False), console=Console(stderr=True)
            )
            self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, text: str, share: float | None = None) -> None:
        """Tell how far it is: in words, and as a share of 1 where that is known."""
        if self._bar is not None:
            self._bar.update(self._task, description=text, total=None if share is None else 1.0, completed=share or 0)
        elif not self._quiet and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            say(text)


@dataclasses.dataclass(frozen=True)
class Report:
    """Hold how a command is to tell what it does."""

    quiet: _Quiet = False
    json: _Json = False

    def progressing(self) -> Progressing:
        """Return what shows how far it is, within a `with` block."""
        return Progressing(self.quiet)

    def tell(self, result: str, figures: Mapping[str, Any]) -> None:
        """Print what came of it: a line for people, or the figures for programs."""
        print(json.dumps(figures) if self.json else printable(result))
