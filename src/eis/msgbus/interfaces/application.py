"""An EIS/EII application: its four lists, read and checked. Does not know what an entry means."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eis.msgbus.exceptions import InvalidConfig
from eis.msgbus.interfaces.entry import KINDS, Interface
from eis.msgbus.interfaces.store import Keys

__all__ = ["Application"]


class Application:
    """Hold the interfaces of one application.

    `interfaces` is a dict, or the path of a JSON file; either may be a whole `config.json` that has them under
    `interfaces`. `keys` are needed in production: where `DEV_MODE` in `environment` is not `true`. `name` stands in
    `AppName` otherwise.

    Raises:
        InvalidConfig: with the place in the interfaces that is wrong; here, or when an entry is asked for.
    """

    def __init__(
        self,
        interfaces: Mapping[str, Any] | str | os.PathLike[str],
        name: str | None = None,
        keys: Keys | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = name or _variable(environment, "AppName")
        self.dev_mode = _variable(environment, "DEV_MODE").lower() == "true"
        if keys is None and not self.dev_mode:
            raise InvalidConfig("expected the keys of the applications, since DEV_MODE is not 'true'", "keys")
        self._keys = None if self.dev_mode else keys
        self._environment = environment
        entries = _read(interfaces)
        self.publishers, self.subscribers, self.servers, self.clients = (self._listed(entries, kind) for kind in KINDS)

    def publisher(self, which: str | int = "default") -> Interface:
        """Return a publisher by its `Name` or position."""
        return _chosen(self.publishers, which, "Publishers")

    def subscriber(self, which: str | int = "default") -> Interface:
        """Return a subscriber by its `Name` or position."""
        return _chosen(self.subscribers, which, "Subscribers")

    def server(self, which: str | int = "default") -> Interface:
        """Return a server, which is a service of the bus, by its `Name` or position."""
        return _chosen(self.servers, which, "Servers")

    def client(self, which: str | int = "default") -> Interface:
        """Return a client, which is a requester of the bus, by its `Name` or position."""
        return _chosen(self.clients, which, "Clients")

    def _listed(self, entries: Mapping[str, Any], kind: str) -> tuple[Interface, ...]:
        listed = entries.get(kind, [])
        if not isinstance(listed, list):
            raise InvalidConfig(f"expected a list, got {type(listed).__name__}", kind)
        for index, entry in enumerate(listed):
            if not isinstance(entry, Mapping):
                raise InvalidConfig(f"expected an object, got {type(entry).__name__}", f"{kind}[{index}]")
        return tuple(
            Interface(kind, f"{kind}[{index}]", entry, app=self.name, keys=self._keys, environment=self._environment)
            for index, entry in enumerate(listed)
        )


def _read(interfaces: Mapping[str, Any] | str | os.PathLike[str]) -> Mapping[str, Any]:
    read: Any = interfaces
    if isinstance(interfaces, str | os.PathLike):
        try:
            read = json.loads(Path(interfaces).read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidConfig(
                f"cannot read interfaces: {error}", str(interfaces)
            ) from None  # a JSON error holds the whole text, secrets too
    if isinstance(read, Mapping) and "interfaces" in read:
        read = read["interfaces"]
    if not isinstance(read, Mapping):
        raise InvalidConfig(f"expected an object, got {type(read).__name__}", "interfaces")
    return read


def _chosen(interfaces: Sequence[Interface], which: str | int, kind: str) -> Interface:
    for index, interface in enumerate(interfaces):
        if which in (index, interface.name):
            return interface
    if not interfaces:
        raise InvalidConfig(f"expected an entry {which!r}, got no entries", kind)
    names = ", ".join(repr(interface.name) for interface in interfaces)
    raise InvalidConfig(f"expected one of {names}, or an index below {len(interfaces)}, got {which!r}", kind)


def _variable(environment: Mapping[str, str], name: str) -> str:
    if not (value := environment.get(name)):
        raise InvalidConfig("expected the environment variable to be set", name)
    return value
