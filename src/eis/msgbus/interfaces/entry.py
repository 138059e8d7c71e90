"""One entry of the interfaces, to one configuration of the bus. Knows no file and no variable but its overrides."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from eis.msgbus.exceptions import InvalidConfig
from eis.msgbus.interfaces.store import Keys

__all__ = ["KINDS", "TYPES", "Interface"]

_log = logging.getLogger("eis.msgbus.interfaces")

KINDS = {"Publishers": "PUBLISHER", "Subscribers": "SUBSCRIBER", "Servers": "SERVER", "Clients": "CLIENT"}
"""The four lists of an application, and what the variables that override an entry begin with."""

TYPES = ("zmq_tcp", "zmq_ipc")
"""What the `Type` of an entry may be."""

_PEER = {"Publishers": "BrokerAppName", "Subscribers": "PublisherAppName", "Clients": "ServerAppName"}


class Interface:
    """Be one entry of an application's interfaces."""

    def __init__(
        self,
        kind: str,
        where: str,
        entry: Mapping[str, Any],
        *,
        app: str,
        keys: Keys | None,
        environment: Mapping[str, str],
    ) -> None:
        self.entry = entry
        self.where = where
        self.name = self._text("Name")
        self._kind = kind
        self._app = app
        self._known = keys
        self._environment = environment
        self._type = _override(environment, KINDS[kind], self.name, "TYPE") or self._text("Type")
        self._override = _override(environment, KINDS[kind], self.name, "ENDPOINT")
        if self._type not in TYPES:
            raise self._wrong("Type", f"expected one of {', '.join(TYPES)}, got {self._type!r}")

    def __repr__(self) -> str:
        return f"<{self.where} {self.name}>"

    @property
    def topics(self) -> list[str]:
        """Return the topics, each the beginning of the names that it means; `["*"]` is `[""]`: all of them."""
        topics = self._texts("Topics")
        if not topics:
            raise self._wrong("Topics", "expected a list of topics, got none")
        return [""] if topics == ["*"] else topics

    def with_topics(self, topics: Sequence[str]) -> Interface:
        """Return the same entry with other topics."""
        entry = {**self.entry, "Topics": list(topics)}
        return Interface(self._kind, self.where, entry, app=self._app, keys=self._known, environment=self._environment)

    @property
    def endpoint(self) -> str | Mapping[str, Any]:
        """Return where it is, after the overrides of the environment."""
        written = self.entry.get("EndPoint")
        if self._override:
            if isinstance(written, Mapping):
                _log.info("%s: the environment replaces the EndPoint %s", self.where, dict(written))
            return self._override
        if not isinstance(written, str | Mapping) or not written:
            raise self._wrong("EndPoint", f"expected text or an object, got {written!r}")
        return written

    @property
    def allowed_clients(self) -> list[str]:
        """Return the names of the applications that are let in, as they are written."""
        return self._texts("AllowedClients")

    @property
    def config(self) -> dict[str, Any]:
        """Return the configuration of the bus: the dict for `MsgbusContext`."""
        config: dict[str, Any] = {"type": self._type}
        if (queue := self.entry.get("zmq_recv_hwm")) is not None:
            config["zmq_recv_hwm"] = queue
        return config | (self._ipc() if self._type == "zmq_ipc" else self._tcp())

    # zmq_ipc

    def _ipc(self) -> dict[str, Any]:
        directory, file = self._socket()
        config: dict[str, Any] = {"socket_dir": directory}
        names = self.topics if self._kind in ("Publishers", "Subscribers") else [self.name]
        if not file:
            if names == [""]:
                raise self._wrong("Topics", "expected topics, got '*': without a socket file each has its own")
            return config
        entry: dict[str, Any] = {"socket_file": file}
        if self._kind == "Publishers" and (brokered := self._brokered()) is not None:
            entry["brokered"] = brokered
        config |= {name: dict(entry) for name in names}
        if self._kind in ("Publishers", "Subscribers"):
            config[""] = dict(entry)
        return config

    def _socket(self) -> tuple[str, str]:
        """Return the directory and the file, empty if each name has its own."""
        endpoint = self.endpoint
        directory: Any
        file: Any
        if isinstance(endpoint, str):
            directory, _, file = (part.strip() for part in endpoint.partition(","))
        else:
            directory, file = endpoint.get("SocketDir", ""), endpoint.get("SocketFile", "")
        if not (isinstance(directory, str) and directory and isinstance(file, str)):
            raise self._wrong("EndPoint", f"expected a directory, or a directory and a file, got {endpoint!r}")
        return directory, "" if file == "*" else file

    # zmq_tcp

    def _tcp(self) -> dict[str, Any]:
        if self._kind == "Publishers":
            return self._tcp_publisher()
        names = self.topics if self._kind == "Subscribers" else [self.name]
        keys, top = self._keys()
        return {name: self._address() | keys for name in names} | top

    def _tcp_publisher(self) -> dict[str, Any]:
        entry = self._address()
        if (brokered := self._brokered()) is not None:
            entry["brokered"] = brokered
        keys, top = self._keys()
        return {"zmq_tcp_publish": entry | keys} | top

    def _address(self) -> dict[str, Any]:
        endpoint = self.endpoint
        host, colon, port = endpoint.rpartition(":") if isinstance(endpoint, str) else ("", "", "")
        host, port = host.strip().removeprefix("[").removesuffix("]"), port.strip()
        if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
            raise self._wrong("EndPoint", f"expected host:port, got {endpoint!r}")
        return {"host": host, "port": int(port)}

    def _keys(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the keys of the entry and what stands at the top: who is let in."""
        if self._known is None:
            return {}, {}
        if not self._known.secret:
            raise InvalidConfig(f"expected {self._app}/private_key among the keys, got nothing", self.where)
        if (peer := self._peer()) is None:
            return self._server_keys(self._known)
        key, app = peer
        return {
            "server_public_key": self._public(self._known, app, key),
            "client_public_key": self._public(self._known, self._app, "AppName"),
            "client_secret_key": self._known.secret,
        }, {}

    def _peer(self) -> tuple[str, str] | None:
        """Return the key with the application it connects to, and its name; None if it is the server itself."""
        key = _PEER.get(self._kind)
        if key is None or (self._kind == "Publishers" and key not in self.entry):
            return None
        app = self._text(key)
        return None if self._kind == "Subscribers" and app == "*" else (key, app)  # "*": the frontend of a broker

    def _server_keys(self, keys: Keys) -> tuple[dict[str, str], dict[str, Any]]:
        if not (names := self.allowed_clients):
            raise self._wrong("AllowedClients", "expected names of applications, or '*' for all of them, got none")
        if names == ["*"]:
            allowed = list(keys.public.values())
        else:
            allowed = [keys.public[name] for name in names if name in keys.public]
            if unknown := [name for name in names if name not in keys.public]:
                _log.warning("%s.AllowedClients: no public key of %s: not let in", self.where, ", ".join(unknown))
        return {"server_secret_key": keys.secret}, {"allowed_clients": allowed}

    def _public(self, keys: Keys, app: str, key: str) -> str:
        if app not in keys.public:
            raise self._wrong(key, f"expected an application whose public key is known, got {app!r}")
        return keys.public[app]

    # what is written

    def _brokered(self) -> bool | None:
        brokered = self.entry.get("brokered")
        if not isinstance(brokered, bool | None):
            raise self._wrong("brokered", f"expected true or false, got {brokered!r}")
        return brokered

    def _text(self, key: str) -> str:
        value = self.entry.get(key)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, f"expected text, got {value!r}")
        return value

    def _texts(self, key: str) -> list[str]:
        value = self.entry.get(key, [])
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self._wrong(key, f"expected a list of texts, got {value!r}")
        return list(value)

    def _wrong(self, key: str, problem: str) -> InvalidConfig:
        return InvalidConfig(problem, f"{self.where}.{key}")


def _override(environment: Mapping[str, str], kind: str, name: str, what: str) -> str:
    """Return the override of the environment: that of all entries of the kind wins over that of one."""
    return environment.get(f"{kind}_{what}") or environment.get(f"{kind}_{name}_{what}") or ""
