"""`msgbus bench`: how fast the bus is on this machine. Does not know how it is measured and shown."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eis.msgbus import MessageBusError
from eis.msgbus.tools.bench.cases import Case, cases
from eis.msgbus.tools.bench.measuring import facts, measure
from eis.msgbus.tools.bench.showing import as_json, bars, notes, table
from eis.msgbus.tools.bench.workers import Figures
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.progress import Report

__all__ = ["EXAMPLES", "command"]

EXAMPLES = ("msgbus bench --seconds 4", "msgbus bench --seconds 4 --plot bench.svg --json > bench.json")

_WIDTH = 110  # columns, where no terminal says how many it has


@gathered(report=Report)
def command(
    *,
    report: Report,
    seconds: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="About so long in all.")] = 30,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw bars into this file.")] = None,
) -> None:
    """Measure."""
    if plot is not None and plot.suffix != ".svg":
        raise typer.BadParameter(f"expected FILE.svg, got {str(plot)!r}", param_hint="--plot")
    about = facts(seconds)
    found = _measured(seconds, report)
    if plot is not None:
        _write(plot, bars(found, about))
    if report.json:
        print(as_json(found, about))
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    console.print(table(found))
    for line in notes(about):
        console.print(line, style="dim", soft_wrap=True)


def _measured(seconds: float, report: Report) -> dict[Case, Figures]:
    """Measure, and show how far it is."""
    total = len(list(cases()))
    with report.progressing() as progress:
        return measure(seconds, lambda case, number: progress.show(f"{case.title}, {case.size}", number / total))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MessageBusError(f"cannot write {path}: {error.strerror}") from error
