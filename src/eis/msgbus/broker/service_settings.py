"""What a user wrote of the services behind a broker, to frozen values. Opens no socket."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eis.msgbus._config import resolved
from eis.msgbus.broker.values import check_known, located, number, object_at
from eis.msgbus.exceptions import InvalidConfig

__all__ = ["TYPES", "Service", "services_of"]

TYPES = ("zmq_ipc", "zmq_tcp")
_KNOWN = ("frontend", "backends", "timeout", "queue")
_TIMEOUT, _QUEUE = 10_000, 100


@dataclasses.dataclass(frozen=True)
class Service:
    """Hold one name: where the broker serves it, and the configurations of requesters of the services that have it.

    A request may wait `timeout` milliseconds for a service, and as long for its answer; `queue` requests may wait.
    """

    name: str
    frontend: Mapping[str, Any] = dataclasses.field(repr=False)
    backends: tuple[Mapping[str, Any], ...] = dataclasses.field(repr=False)
    timeout: int = _TIMEOUT
    queue: int = _QUEUE

    def sides(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the place and the configuration of the frontend, and of each backend."""
        within = f"services.{self.name}"
        backends = [(f"{within}.backends[{index}]", config) for index, config in enumerate(self.backends)]
        return [(f"{within}.frontend", self.frontend), *backends]


def services_of(written: Mapping[str, Any], directory: Path) -> tuple[Service, ...]:
    """Return the services, with the files of keys looked up in `directory`.

    Raises:
        InvalidConfig: something is wrong; `where` begins with `services` and the name.
    """
    if "services" not in written:
        return ()
    services = object_at(written, "services")
    return tuple(_service(name, services, directory) for name in services)


def _service(name: str, services: Mapping[str, Any], directory: Path) -> Service:
    value, within = object_at(services, name, "services."), f"services.{name}."
    check_known(value, _KNOWN, within)
    service = Service(
        name,
        object_at(value, "frontend", within),
        _backends(value.get("backends"), f"{within}backends"),
        number(value.get("timeout", _TIMEOUT), f"{within}timeout", 1, 2**31 - 1),
        number(value.get("queue", _QUEUE), f"{within}queue", 1, 2**31 - 1),
    )
    frontend, *backends = (_resolved(where, config, directory) for where, config in service.sides())
    return dataclasses.replace(service, frontend=frontend, backends=tuple(backends))


def _backends(value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        got = "an empty list" if value == [] else "nothing" if value is None else type(value).__name__
        raise InvalidConfig(f"expected a list of configurations, one for each service, got {got}", where)
    return tuple(value)


def _resolved(where: str, config: Any, directory: Path) -> Mapping[str, Any]:
    with located(where):
        found = resolved(config, directory)
        if found["type"] not in TYPES:
            raise InvalidConfig(f"expected one of {', '.join(TYPES)}, got {found['type']!r}", "type")
        return found
