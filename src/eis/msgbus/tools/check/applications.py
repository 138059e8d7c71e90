"""Interfaces of EIS/EII applications, to what they do on the bus. Knows no rule."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eis.msgbus import InvalidConfig, MsgbusContext
from eis.msgbus.interfaces import Application, Interface, read_keys
from eis.msgbus.tools.check.finding import Finding
from eis.msgbus.tools.check.link import Link, Role, Where
from eis.msgbus.tools.check.source import links_of

__all__ = ["has_interfaces", "of_application"]

_LISTS: dict[str, Role] = {
    "Publishers": "publisher",
    "Subscribers": "subscriber",
    "Servers": "service",
    "Clients": "requester",
}
_PEERS = ("PublisherAppName", "ServerAppName", "BrokerAppName")
_NO_NAMES = ("config", "interfaces")  # of files: the directory has the application's name


def has_interfaces(config: Mapping[str, Any]) -> bool:
    """Tell whether a file is that of an application, and no configuration of the bus."""
    return "type" not in config and ("interfaces" in config or bool(_LISTS.keys() & config.keys()))


def of_application(path: Path, config: Mapping[str, Any], store: Path | None) -> tuple[list[Link], list[Finding]]:
    """Return the links of an application, and what is wrong with its entries.

    The name is that of the file, or of its directory where the file is a `config.json`. `store` holds the keys; without
    it, the application runs in development mode, which has none.
    """
    name = path.absolute().parent.name if path.stem in _NO_NAMES else path.stem
    links: list[Link] = []
    findings: list[Finding] = []
    try:
        keys = None if store is None else read_keys(store, name)
        application = Application(config, name, keys, {"DEV_MODE": "false" if keys else "true"})
    except InvalidConfig as error:
        return [], [Finding(str(path), error.where, error.problem, "")]
    lists = zip(_LISTS.values(), _entries(application), strict=True)
    for role, entry in ((role, entry) for role, entries in lists for entry in entries):
        try:
            links += _links(path, name, role, entry)
        except InvalidConfig as error:
            findings.append(Finding(str(path), error.where, error.problem, ""))
    return links, findings


def _entries(application: Application) -> tuple[tuple[Interface, ...], ...]:
    return application.publishers, application.subscribers, application.servers, application.clients


def _links(path: Path, app: str, role: Role, entry: Interface) -> Iterator[Link]:
    config = entry.config
    MsgbusContext(config).close()
    names = tuple(entry.topics) if role in ("publisher", "subscriber") else (entry.name,)
    peer = next((entry.entry[key] for key in _PEERS if isinstance(entry.entry.get(key), str)), None)
    if peer == "*":  # of a subscriber: the side of a broker to which publishers connect
        role, names, peer = "service", (), None
    allowed = entry.allowed_clients
    said: dict[str, Any] = {
        "where": entry.where,
        "role": role,
        "app": app,
        "peer": peer,
        "allowed_apps": None if allowed in ([], ["*"]) else frozenset(allowed),
    }
    if config["type"] == "zmq_ipc":
        yield from _of_files(str(path), config, names, said)
        return
    for found in links_of(path, config)[: 1 if role == "publisher" else None]:
        yield replace(found, names=names if role == "publisher" or not names else found.names, **said)


def _of_files(file: str, config: Mapping[str, Any], names: tuple[str, ...], said: dict[str, Any]) -> Iterator[Link]:
    """Yield a link for each socket file: topics that share one are published by one application."""
    common = config.get("", {})
    by_file: dict[str, list[str]] = {}
    for name in names or ("",):
        by_file.setdefault(config.get(name, common).get("socket_file", name), []).append(name)
    for socket_file, topics in by_file.items():
        at = Where(directory=str(Path(config["socket_dir"]).absolute()), file=socket_file)
        brokered = bool(config.get(topics[0], common).get("brokered"))
        yield Link(file, type="zmq_ipc", at=at, names=tuple(topics), brokered=brokered, settings=config, **said)
