"""The file of a broker, to what it does on the bus. Opens no socket, and knows no rule."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eis.msgbus import InvalidConfig, MsgbusContext
from eis.msgbus.broker import Service, Side, read
from eis.msgbus.tools.check.finding import Finding
from eis.msgbus.tools.check.link import Link, Role
from eis.msgbus.tools.check.source import links_of

__all__ = ["is_broker", "of_broker"]

_KEYS = {"frontend", "backend", "services"}


def is_broker(config: Mapping[str, Any]) -> bool:
    """Tell whether a file is that of a broker, and no configuration of the bus."""
    return "type" not in config and bool(_KEYS & config.keys())


def of_broker(path: Path) -> tuple[list[Link], list[Finding]]:
    """Return the links of a broker, or what it finds wrong itself."""
    try:
        settings = read([path], environment={})
        links = [link for side in (settings.frontend, settings.backend) if side for link in _side(path, side)]
        return links + [link for service in settings.services for link in _service(path, service)], []
    except InvalidConfig as error:
        return [], [Finding(str(path), error.where, error.problem, "")]


def _side(path: Path, side: Side) -> Iterator[Link]:
    """Yield where a side listens: publishers connect to the one as to a service, the other is as a publisher."""
    role: Role = "service" if side.name == "frontend" else "publisher"
    entry = "" if side.config["type"] == "zmq_ipc" else "zmq_tcp_publish"
    yield replace(_link(path, side.name, side.config, entry), role=role, names=(), side=side.name)


def _service(path: Path, service: Service) -> Iterator[Link]:
    """Yield where the broker serves, and where it asks."""
    for index, (where, config) in enumerate(service.sides()):
        role: Role = "requester" if index else "service"
        yield replace(_link(path, where, config, service.name), role=role, names=(service.name,))


def _link(path: Path, where: str, config: Mapping[str, Any], name: str) -> Link:
    """Return the link of one name, by the rules of the bus; `where` is put before the place of what is wrong."""
    try:
        MsgbusContext(config).close()
        if config["type"] == "zmq_ipc":
            config = {**config, name: config.get(name, {})}
        found = next((link for link in links_of(path, config) if link.where == (name or '""')), None)
    except InvalidConfig as error:
        raise InvalidConfig(error.problem, f"{where}.{error.where}".removesuffix(".")) from error
    if found is None:
        raise InvalidConfig("expected an object with host and port, got nothing", f"{where}.{name}")
    return replace(found, where=where)
