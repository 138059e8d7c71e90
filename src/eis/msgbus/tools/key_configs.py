"""Configurations of a server and its clients, which name the files of their keys. Reads and writes none."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from eis.msgbus.tools.connection import tcp_address

__all__ = ["configurations"]


def configurations(
    names: Sequence[str], address: str | None, topics: Sequence[str], service: str | None
) -> dict[str, dict[str, Any]]:
    """Return the configurations of the server, which is the first name, and its clients; none without an address."""
    if address is None:
        if topics or service:
            raise typer.BadParameter("expected where the server is", param_hint="-a tcp://HOST:PORT")
        return {}
    if len(names) < 2:
        raise typer.BadParameter("expected a server and its clients", param_hint="NAME...")
    if bool(topics) is bool(service):
        raise typer.BadParameter("expected one of the two, for -a", param_hint="--topic or --service")
    where = tcp_address(address)
    offered = topics if service is None else [service]
    server = _server(names, where, service)
    return {names[0]: server} | {client: _client(names[0], client, where, offered) for client in names[1:]}


def _server(names: Sequence[str], where: dict[str, Any], service: str | None) -> dict[str, Any]:
    server, *clients = names
    return {
        "type": "zmq_tcp",
        "clients": {Path(client).name: _file(f"{client}.public", server) for client in clients},
        "allowed_clients": [Path(client).name for client in clients],
        service or "zmq_tcp_publish": where | {"server_secret_key": _file(f"{server}.secret", server)},
    }


def _client(server: str, client: str, where: dict[str, Any], offered: Sequence[str]) -> dict[str, Any]:
    own = {
        "server_public_key": _file(f"{server}.public", client),
        "client_public_key": _file(f"{client}.public", client),
        "client_secret_key": _file(f"{client}.secret", client),
    }
    return {"type": "zmq_tcp"} | dict.fromkeys(offered, where | own)


def _file(path: str, beside: str) -> dict[str, str]:
    """Return a reference to a file, as seen from the configuration that is written beside another."""
    return {"file": os.path.relpath(path, Path(beside).parent)}
