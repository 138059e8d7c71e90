"""`msgbus top`: what goes over the bus just now, renewed in place. Does not know how it is counted and shown."""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live

from eis.msgbus import MsgbusException, aio
from eis.msgbus.tools.completion import names
from eis.msgbus.tools.connection import KeysOption, ServerKeyOption
from eis.msgbus.tools.top.sources import Source, of_address, of_config
from eis.msgbus.tools.top.table import Order, as_json, lines, ordered, table
from eis.msgbus.tools.top.watched import Row, Watched

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus top -c bus.json -n 1",
    "msgbus top camera1 -c bus.json --every 0.5 -n 2 --json",
    "msgbus top -a ipc://sockets/camera1 --sort rate -n 1",
)

_Show = Callable[[Sequence[Row], float], None]


def command(
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC",
            help="Topics, or beginnings of some; left out: all that can be found.",
            autocompletion=names,
        ),
    ] = None,
    *,
    config: Annotated[
        list[Path] | None,
        typer.Option("-c", "--config", metavar="FILE", help="A configuration, JSON or TOML; may be given again."),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            "-a", "--address", metavar="ADDRESS", help="ipc://DIRECTORY/FILE or tcp://HOST:PORT; may be given again."
        ),
    ] = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time between two reports.")] = 1,
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, metavar="N", help="End after so many reports.")
    ] = None,
    sort: Annotated[
        Literal["name", "rate", "latency", "lost"], typer.Option(help="What comes first; of figures the largest.")
    ] = "name",
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each report.")] = False,
) -> None:
    """Show topics."""
    if not (config or address):
        raise typer.BadParameter("expected at least one", param_hint="-c FILE or -a ADDRESS")
    logging.getLogger("eis.msgbus").setLevel(logging.CRITICAL)  # what it warns of stands in the table
    wanted = tuple(topics or ())
    sources = [of_config(path, wanted) for path in config or ()]
    sources += [of_address(each, keys, server_key, wanted) for each in address or ()]
    with _shown(sort, json) as show:
        try:
            asyncio.run(_watch(sources, every, count, show))
        except* MsgbusException as group:  # of several tasks that fail at once, one says enough
            raise _first(group) from None


@contextlib.contextmanager
def _shown(order: Order, json: bool) -> Iterator[_Show]:
    """Have reports shown: in place on a terminal, line after line elsewhere."""
    if json or not sys.stdout.isatty():
        form = as_json if json else lines

        def show(rows: Sequence[Row], seconds: float) -> None:
            print("\n".join(form(ordered(rows, order), seconds)), flush=True)

        yield show
        return
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        yield lambda rows, _: live.update(table(ordered(rows, order), console.width), refresh=True)


def _first(group: BaseExceptionGroup[MsgbusException]) -> MsgbusException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _watch(sources: Sequence[Source], every: float, count: int | None, show: _Show) -> None:
    async with asyncio.TaskGroup() as tasks, contextlib.AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(aio.MsgbusContext(source.config)) for source in sources]
        watched: dict[tuple[int, str], Watched] = {}
        left = count
        while left != 0:
            for number, (source, bus) in enumerate(zip(sources, buses, strict=True)):
                for topic in source.topics():
                    if (number, topic) not in watched:
                        watched[number, topic] = new = Watched(source.title, bus, topic)
                        tasks.create_task(new.follow())
            began = time.monotonic()
            await _pause(every)
            seconds = time.monotonic() - began
            show([row for each in watched.values() for row in each.rows(seconds)], seconds)
            left = None if left is None else left - 1


async def _pause(seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
