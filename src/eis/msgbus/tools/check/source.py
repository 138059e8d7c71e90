"""Files of configurations, to what their applications do on the bus. Opens no socket, and knows no rule."""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eis.msgbus import InvalidConfig, MessageBusError, MsgbusContext, keys
from eis.msgbus.tools.check.finding import Finding
from eis.msgbus.tools.check.link import Link, Role, Where
from eis.msgbus.tools.schema import FIXED

__all__ = ["Unusable", "links_of", "of_bus", "read"]

_CLIENT_KEYS = ("server_public_key", "client_public_key", "client_secret_key")


class Unusable(MessageBusError):
    """Say that a file cannot be checked at all."""


def read(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON or TOML file.

    Raises:
        Unusable: there is none.
    """
    is_toml = path.suffix.lower() == ".toml"
    try:
        with path.open("rb") as file:
            value = tomllib.load(file) if is_toml else json.load(file)
    except OSError as error:
        raise Unusable(f"{path}: cannot read it: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        # Not from the error: that of JSON holds the whole file, and its keys are secrets.
        raise Unusable(f"{path}: expected {'TOML' if is_toml else 'JSON'}: {error}") from None
    if not isinstance(value, Mapping):
        raise Unusable(f"{path}: expected an object, got {type(value).__name__}")
    return value


def of_bus(path: Path, config: Mapping[str, Any]) -> tuple[list[Link], list[Finding]]:
    """Return the links of a configuration of the bus, or what the bus itself finds wrong with it."""
    try:
        MsgbusContext(path).close()
        return links_of(path, config), []
    except InvalidConfig as error:
        return [], [Finding(str(path), error.where, error.problem, "")]


def links_of(path: Path, config: Mapping[str, Any]) -> list[Link]:
    """Return the links of a configuration that the bus has taken.

    Raises:
        InvalidConfig: what the bus finds wrong only when an endpoint is opened.
    """
    return list(_Resolved(path, config).links())


class _Resolved:
    """Make links of a configuration that the bus has taken."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self._file, self._config = str(path), config
        self._beside = path.parent
        self._entries = {name: value for name, value in config.items() if name not in FIXED}
        self._named = {name: self._key(key) for name, key in config.get("clients", {}).items()}

    def links(self) -> Iterator[Link]:
        """Yield every place on the bus that the configuration names."""
        if self._config["type"] == "zmq_ipc":
            yield from self._ipc()
        elif self._config["type"] == "zmq_tcp":
            yield from self._tcp()

    def _ipc(self) -> Iterator[Link]:
        directory = str(Path(self._config["socket_dir"]).absolute())
        common = self._entries.get("", {})
        yield self._link("socket_dir", "any", Where(directory=directory), ())
        for name, entry in self._entries.items():
            file = entry.get("socket_file", common.get("socket_file", name))
            brokered = entry.get("brokered", common.get("brokered", False))
            role: Role = "publisher" if brokered else "any"
            at = Where(directory=directory, file=file)
            yield self._link(name or '""', role, at, (name,) if name else (), brokered=brokered)

    def _tcp(self) -> Iterator[Link]:
        if (entry := self._config.get("zmq_tcp_publish")) is not None:
            yield self._tcp_link("zmq_tcp_publish", entry, "publisher", ())
        for name, entry in self._entries.items():
            role: Role = "any"
            if "server_secret_key" in entry or entry.get("host") == "*":
                role = "service"
            elif any(key in entry for key in _CLIENT_KEYS):
                role = "client"
            yield self._tcp_link(name or '""', entry, role, (name,))

    def _tcp_link(self, where: str, entry: Mapping[str, Any], role: Role, names: tuple[str, ...]) -> Link:
        if missing := [key for key in ("host", "port") if key not in entry]:
            raise InvalidConfig(f"expected a host and a port, got no {missing[0]}", f"{where}.{missing[0]}")
        brokered = bool(entry.get("brokered"))
        connects = role == "client" or brokered
        given = [key for key in _CLIENT_KEYS if key in entry]
        if connects and 0 < len(given) < len(_CLIENT_KEYS):
            missing = [key for key in _CLIENT_KEYS if key not in entry]
            raise InvalidConfig("expected all three keys of a client or none, got nothing", f"{where}.{missing[0]}")
        server_keys = self._keys(entry.get("server_public_key", [])) if connects else self._own_public(entry)
        if self._config.get("require_encryption") and not server_keys:
            problem = "require_encryption needs it: without it everything is plain text"
            raise InvalidConfig(problem, f"{where}.{_CLIENT_KEYS[0] if connects else 'server_secret_key'}")
        return self._link(
            where,
            role,
            Where(entry["host"], entry["port"]),
            names,
            brokered=brokered,
            server_keys=server_keys,
            own_key=self._key(entry["client_public_key"]) if connects and given else None,
            **({} if connects else self._admitted(where, entry, server_keys)),
        )

    def _admitted(self, where: str, entry: Mapping[str, Any], server_keys: frozenset[str]) -> dict[str, Any]:
        """Return who gets in, by the rules of the reference: the own list, that of all, those who are named."""
        topics = entry.get("topics")
        readers = None if topics is None else {topic: self._keys(listed) for topic, listed in topics.items()}
        allowed: frozenset[str] | None = None
        if (listed := entry.get("allowed_clients", self._config.get("allowed_clients"))) is not None:
            allowed = self._keys(listed)
        elif readers is not None:
            allowed = frozenset().union(*readers.values())
        elif "clients" in self._config:
            allowed = frozenset(self._named.values())
        if allowed is not None and not server_keys and where == "zmq_tcp_publish":
            problem = "a list of who gets in needs it: without it everything is plain text"
            raise InvalidConfig(problem, f"{where}.server_secret_key")
        return {"allowed": allowed if server_keys else None, "topics": readers}

    def _own_public(self, entry: Mapping[str, Any]) -> frozenset[str]:
        secret = entry.get("server_secret_key")
        return frozenset() if secret is None else frozenset([keys.public_key(self._key(secret, secret=True))])

    def _keys(self, listed: Any) -> frozenset[str]:
        values = listed if isinstance(listed, list) else [listed]
        return frozenset(self._named.get(each) or each if isinstance(each, str) else self._key(each) for each in values)

    def _key(self, value: Any, *, secret: bool = False) -> str:
        """Return the key that is written, or in the file or variable that is named; the bus has read it already."""
        if isinstance(value, str):
            return value
        if "env" in value:
            return os.environ[value["env"]].strip()
        path = self._beside / value["file"]
        return keys.read_secret(path) if secret else keys.read_public(path)

    def _link(self, where: str, role: Role, at: Where, names: tuple[str, ...], **more: Any) -> Link:
        return Link(self._file, where, role, self._config["type"], at, names, settings=self._config, **more)
