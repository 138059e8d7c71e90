"""`msgbus check`: one configuration, or those of all applications together. Opens no socket."""

import dataclasses
import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from eis.msgbus import MessageBusError
from eis.msgbus.tools.check.deployment import Connection, Deployment, deployment_of
from eis.msgbus.tools.check.drawing import drawing
from eis.msgbus.tools.check.graph import Graph, graph_of, mermaid
from eis.msgbus.tools.check.rules import findings
from eis.msgbus.tools.check.source import Unusable
from eis.msgbus.tools.stderr import printable, say

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus check bus.json",
    "msgbus check camera.json viewer.json",
    "msgbus check camera.json viewer.json --graph deployment.svg",
)

_STDOUT = Path("-")
_DRAWINGS = {".svg": drawing, ".mmd": mermaid}


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Configurations of the bus, files of `msgbus broker`, `interfaces` of EIS/EII."
        ),
    ],
    *,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="Of EIS/EII: the keys, a JSON file or directory; left out: DEV_MODE."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print findings and connections as one JSON object.")] = False,
    graph: Annotated[
        Path | None,
        typer.Option(
            "--graph", metavar="FILE", help="Draw who sends to whom: FILE.svg, FILE.mmd (Mermaid), or - for stdout."
        ),
    ] = None,
) -> None:
    """Check configurations: exit status 0 for no finding, 1 for findings, 2 where a file cannot be read."""
    try:
        deployment = deployment_of(files, keys)
    except Unusable as error:
        say(str(error))
        raise typer.Exit(2) from None
    found = findings(deployment)
    if graph is not None:
        _draw(graph_of(deployment), graph)
    if json:
        told = {
            "findings": [dataclasses.asdict(finding) for finding in found],
            "connections": [_as_json(connection) for connection in deployment.connections()],
        }
        print(json_text.dumps(told, indent=2))
    elif graph != _STDOUT:
        _print_connections(deployment)
    if not json:
        for finding in found:
            say(str(finding))
    raise typer.Exit(1 if found else 0)


def _draw(graph: Graph, path: Path) -> None:
    if path == _STDOUT:
        print(mermaid(graph))
        return
    if (draw := _DRAWINGS.get(path.suffix)) is None:
        raise typer.BadParameter(f"expected FILE.svg, FILE.mmd or -, got {str(path)!r}", param_hint="--graph")
    try:
        path.write_text(draw(graph).rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise MessageBusError(f"cannot write {path}: {error.strerror}") from error


def _print_connections(deployment: Deployment) -> None:
    """Print who connects to whom: a line, for however many topics."""
    for line in dict.fromkeys(_line(connection) for connection in deployment.connections()):
        print(printable(line))


def _line(connection: Connection) -> str:
    client, server = connection.client, connection.server
    key = f", key {client.own_key}" if client.own_key else ""
    return f"{client.title} {client.where} -> {server.title} {server.where}: {server.type} {client.at}{key}"


def _as_json(connection: Connection) -> dict[str, object]:
    client, server = connection.client, connection.server
    return {
        "client": {"file": client.file, "where": client.where, "names": client.names, "key": client.own_key},
        "server": {"file": server.file, "where": server.where, "names": server.names},
        "type": server.type,
        "address": str(client.at),
    }
