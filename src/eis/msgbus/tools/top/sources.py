"""What is to be watched: configurations and addresses, to topics. Opens nothing."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from eis.msgbus import MsgbusContext
from eis.msgbus.tools.check.link import Link
from eis.msgbus.tools.check.source import links_of, read
from eis.msgbus.tools.connection import Connection

__all__ = ["Source", "of_address", "of_config"]

_NO_ENTRIES = ("socket_dir", "zmq_tcp_publish")
_ALL = '""'  # how an entry for all topics is called


@dataclasses.dataclass(frozen=True)
class Source:
    """Be one configuration, by which some topics are watched.

    Where it names none, the topics are those of the socket files in `directory`, whose names are theirs, apart from
    files that it has another use for.
    """

    title: str
    config: Mapping[str, Any] | Path
    named: tuple[str, ...]
    directory: Path | None = None
    others: frozenset[str] = frozenset()

    def topics(self) -> Sequence[str]:
        """Return the topics that there are just now."""
        if self.directory is None:
            return self.named
        return [*self.named, *_socket_files(self.directory, self.others)]


def of_address(address: str, keys: Path | None, server_key: str | None, topics: tuple[str, ...]) -> Source:
    """Watch what is published at an address: some topics, or all."""
    config = Connection(None, address, keys, server_key).client("")
    return Source(address, config, topics or ("",))


def of_config(path: Path, topics: tuple[str, ...]) -> Source:
    """Watch what a configuration lets its program subscribe to: some topics, or all.

    Raises:
        InvalidConfig: it is none.
    """
    MsgbusContext(path).close()
    config = read(path)
    if topics:
        return Source(str(path), path, topics)
    links = [link for link in links_of(path, config) if link.where not in _NO_ENTRIES]
    named = tuple(_topics([link for link in links if link.role != "service" and not link.brokered]))
    if config["type"] == "zmq_ipc" and "" not in config:
        directory = Path(config["socket_dir"])
        return Source(str(path), path, named, directory, frozenset(link.at.file for link in links))
    if not named:
        problem = f"{path} names no topic to subscribe to: give that of a subscriber"
        raise typer.BadParameter(problem, param_hint="-c FILE")
    return Source(str(path), path, named)


def _topics(links: Sequence[Link]) -> list[str]:
    """Return the topics of entries; none that the entry for all topics has at the same address."""
    whole = next((link.at for link in links if link.where == _ALL), None)
    return ["" if link.where == _ALL else link.where for link in links if link.where == _ALL or link.at != whole]


def _socket_files(directory: Path, others: frozenset[str]) -> list[str]:
    try:
        files = sorted(path.name for path in directory.iterdir() if path.is_socket())
    except OSError:  # it is made when somebody publishes
        return []
    return [name for name in files if not name.startswith(".") and name not in others and _is_text(name)]


def _is_text(name: str) -> bool:
    """Tell whether a file's name is UTF-8: no topic is called otherwise, and the file is somebody else's."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
