"""What a shell may complete: topics and services of the configuration that was typed before. Opens no socket."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from eis.msgbus.tools.check.source import Unusable, read
from eis.msgbus.tools.schema import FIXED

__all__ = ["names"]


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names that begin so: of entries, of topics with rights, and of socket files that no entry names."""
    found = {name for path in _configs(ctx) for name in _named(path)}
    return sorted(name for name in found if name and name.isprintable() and name.startswith(incomplete))


def _configs(ctx: typer.Context) -> list[Path]:
    given = ctx.params.get("config") or ()
    return [Path(path) for path in ((given,) if isinstance(given, str | Path) else given)]


def _named(path: Path) -> Iterator[str]:
    try:
        config = read(path)
    except Unusable:  # it may still be typed, or written
        return
    yield from (name for name in config if name not in FIXED)
    yield from _keys_of(_keys_of(config, "zmq_tcp_publish"), "topics")
    if config.get("type") == "zmq_ipc" and isinstance(directory := config.get("socket_dir"), str):
        named = {_keys_of(config, name).get("socket_file") for name in config}
        yield from (name for name in _socket_files(Path(directory)) if name not in named)


def _keys_of(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _socket_files(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir() if path.is_socket() and not path.name.startswith(".")]
    except OSError:
        return []
