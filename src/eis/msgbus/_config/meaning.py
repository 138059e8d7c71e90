"""What a checked configuration means for each endpoint: where it binds or connects, and with which keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eis.msgbus import keys
from eis.msgbus._config.entries import (
    CLIENT_KEYS,
    FIXED,
    PUBLISH,
    Entry,
    meant,
    not_a_file_name,
    place,
    places,
    read_entry,
    read_fixed,
)
from eis.msgbus.exceptions import InvalidConfig

__all__ = ["Bind", "ClientKeys", "Clients", "Config", "Connect", "Directory", "Users"]

QUEUE_BYTES = 64 * 1024 * 1024
"""What may wait for one subscriber, on each side, where `queue_bytes` says nothing else: ten frames of 1080p."""


@dataclasses.dataclass(frozen=True)
class ClientKeys:
    """Hold what a client needs to know the server and to be known by it: Z85 keys.

    `server_publics` are tried in turn: a server that changes its key has an old and a new one for a while.
    """

    server_publics: tuple[str, ...]
    public: str
    secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Clients:
    """Say which keys get in, under which name, and what each may subscribe to.

    `names` are the names of the clients by their Z85 public keys; a client without a name has its key for one.
    `topics` are the names of the clients that may read a topic, by the beginnings of topics; None: all may read all.
    """

    names: Mapping[str, str]
    topics: Mapping[str, frozenset[str]] | None = None

    def may_subscribe(self, name: str, prefix: str) -> bool:
        """Tell whether the client may read every topic that begins with `prefix`.

        The longest beginning in `topics` decides about a topic; a topic that has none is for nobody.
        """
        if self.topics is None:
            return True
        shorter = [beginning for beginning in self.topics if prefix.startswith(beginning)]
        longer = [beginning for beginning in self.topics if beginning.startswith(prefix) and beginning != prefix]
        deciding = ([max(shorter, key=len)] if shorter else []) + longer
        return bool(shorter) and all(name in self.topics[beginning] for beginning in deciding)


@dataclasses.dataclass(frozen=True)
class Users:
    """Say whose programs get in at a socket file: users and groups of the system, by name or number."""

    users: tuple[str | int, ...] = ()
    groups: tuple[str | int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Directory:
    """Say where the socket files are, and how the directory has to be.

    `group` owns the directory if it is made, and the socket files; None: the group that the system gives. `shared`
    lets several users make socket files in it. `allow_open` accepts one that others may write to or look into.
    """

    path: str
    group: str | int | None = None
    shared: bool = False
    allow_open: bool = False


@dataclasses.dataclass(frozen=True)
class Bind:
    """Say where a publisher or service listens; encrypted where it has a secret.

    `clients` are those that are let in; None: everyone.
    """

    host: str
    port: int
    secret: str | None = dataclasses.field(repr=False)
    clients: Clients | None


@dataclasses.dataclass(frozen=True)
class Connect:
    """Say where a subscriber, requester or brokered publisher connects; encrypted where it has keys."""

    host: str
    port: int
    keys: ClientKeys | None


class Config:
    """Hold a checked configuration of `zmq_ipc` or `zmq_tcp`, and say what it means for each endpoint.

    Raises:
        InvalidConfig: here or in a method; see the package.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._entries = {name: read_entry(name, value) for name, value in config.items() if name not in FIXED}
        self._fixed = read_fixed(config)
        self._named = self._fixed.clients or {}
        self._check_lists()
        self.recv_hwm = self._fixed.zmq_recv_hwm
        self.connect_retries = self._fixed.zmq_connect_retries
        self.queue_bytes = self._fixed.queue_bytes or QUEUE_BYTES
        self.max_message_bytes = self._fixed.max_message_bytes
        self.stalled_after = self._fixed.stalled_after

    def _check_lists(self) -> None:
        """Refuse a wrong list of clients wherever it stands, before any endpoint asks for it."""
        self._listed(self._fixed.allowed_clients or (), "allowed_clients")
        for name, entry in (*self._entries.items(), (PUBLISH, self._fixed.zmq_tcp_publish or Entry())):
            if name != PUBLISH and entry.topics is not None:
                raise InvalidConfig(f"expected it in {PUBLISH} only: who may read what", f"{place(name)}.topics")
            self._clients(place(name), entry)

    # zmq_ipc

    def directory(self) -> Directory:
        """Return where the socket files are; the path is absolute."""
        fixed = self._fixed
        if fixed.socket_dir is None:
            raise InvalidConfig("expected the directory of the socket files, got nothing", "socket_dir")
        if fixed.allowed_clients is not None:
            raise InvalidConfig("zmq_ipc knows no keys: the group of the socket files decides", "allowed_clients")
        path = str(Path(fixed.socket_dir).absolute())
        return Directory(path, fixed.socket_group, fixed.shared_directory, fixed.allow_open_directory)

    def users(self, name: str) -> Users | None:
        """Return whose programs get in at the socket file of a publisher or service; None: all that reach it."""
        for key in (name, ""):
            entry = self._entries.get(key)
            if entry is not None and (entry.allowed_users is not None or entry.allowed_groups is not None):
                return Users(entry.allowed_users or (), entry.allowed_groups or ())
        return None

    def socket_file(self, name: str) -> str:
        """Return the name of the socket file of a topic or service."""
        for key in (name, ""):
            if key in self._entries and (file := self._entries[key].socket_file) is not None:
                return file
        if problem := not_a_file_name(name):
            raise InvalidConfig(f"{problem} as the name of a socket file: give the name a socket_file", place(name))
        return name

    def brokered_ipc(self, topic: str) -> bool:
        """Tell whether the publisher of `topic` connects to a broker's socket file."""
        for key in (topic, ""):
            if key in self._entries and (brokered := self._entries[key].brokered) is not None:
                return brokered
        return False

    # zmq_tcp

    def tcp_publisher(self) -> Bind | Connect:
        """Return where every publisher binds, or connects if it is brokered."""
        entry = self._fixed.zmq_tcp_publish
        if entry is None:
            raise InvalidConfig("expected an object with host and port, got nothing", PUBLISH)
        if entry.brokered:
            return _connect(PUBLISH, entry)
        return self._bind(PUBLISH, entry)

    def tcp_client(self, name: str) -> Connect:
        """Return where the subscriber or requester of `name` connects."""
        return _connect(place(name), self._own_entry(name))

    def tcp_service(self, name: str) -> Bind:
        """Return where the service `name` binds."""
        return self._bind(place(name), self._own_entry(name))

    def _own_entry(self, name: str) -> Entry:
        if name not in self._entries:
            hint = f"; did you mean {close!r}?" if (close := meant(self._entries, name)) else ""
            raise InvalidConfig(f"expected an object with host and port, got nothing{hint}", place(name))
        return self._entries[name]

    def _bind(self, where: str, entry: Entry) -> Bind:
        host, port = _address(where, entry)
        if entry.server_secret_key is None:
            at = f"{where}.server_secret_key"
            if any(getattr(entry, key) is not None for key in CLIENT_KEYS):
                raise InvalidConfig("expected the key of what binds here, got only keys of a client", at)
            if (needs := self._needs_keys(entry)) is not None:
                raise InvalidConfig(f"{needs} needs it: without it everything is plain text", at)
        return Bind(host, port, entry.server_secret_key, self._clients(where, entry))

    def _needs_keys(self, entry: Entry) -> str | None:
        """Return the key that says who gets in, None if every client does."""
        if entry.topics is not None:
            return "topics"
        if entry.allowed_clients is not None or self._fixed.allowed_clients is not None:
            return "allowed_clients"
        return "clients" if self._fixed.clients is not None else None

    def _clients(self, where: str, entry: Entry) -> Clients | None:
        """Return who gets in: the list of the entry, else that of all, else who is named or may read some topic."""
        if self._needs_keys(entry) is None:
            return None
        topics = {
            topic: self._listed(clients, f"{where}.topics.{place(topic)}")
            for topic, clients in (entry.topics or {}).items()
        }
        if entry.allowed_clients is not None:
            names = self._listed(entry.allowed_clients, f"{where}.allowed_clients")
        elif self._fixed.allowed_clients is not None:
            names = self._listed(self._fixed.allowed_clients, "allowed_clients")
        elif entry.topics is not None:
            names = {key: name for listed in topics.values() for key, name in listed.items()}
        else:
            names = {key: name for name, key in self._named.items()}
        readers = {topic: frozenset(listed.values()) for topic, listed in topics.items()}
        return Clients(names, readers if entry.topics is not None else None)

    def _listed(self, clients: tuple[str, ...], where: str) -> dict[str, str]:
        """Return the names of the clients of a list, which holds names and keys, by their keys."""
        listed = {}
        names = {key: name for name, key in self._named.items()}
        for at, client in places(clients, where):
            if client in self._named:
                listed[self._named[client]] = client
            elif keys.is_key(client) or not self._named:
                listed[keys.check(client, at)] = names.get(client, client)
            else:
                hint = f"; did you mean {close!r}?" if (close := meant(self._named, client)) else ""
                raise InvalidConfig(f"expected a key or one of the names in clients{hint}", at)
        return listed


def _connect(where: str, entry: Entry) -> Connect:
    host, port = _address(where, entry)
    if host == "*":
        raise InvalidConfig("expected the host to connect to, got '*'", f"{where}.host")
    return Connect(host, port, _client_keys(where, entry))


def _client_keys(where: str, entry: Entry) -> ClientKeys | None:
    values = [getattr(entry, key) for key in CLIENT_KEYS]
    if not any(values):
        if entry.server_secret_key is not None:
            problem = "expected all three keys of a client or none, got the key of a server"
            raise InvalidConfig(problem, f"{where}.{CLIENT_KEYS[0]}")
        return None
    for key, value in zip(CLIENT_KEYS, values, strict=True):
        if value is None:
            raise InvalidConfig("expected all three keys of a client or none, got nothing", f"{where}.{key}")
    server, public, secret = values
    return ClientKeys((server,) if isinstance(server, str) else server, public, secret)


def _address(where: str, entry: Entry) -> tuple[str, int]:
    if entry.host is None:
        raise InvalidConfig("expected a host name or address, got nothing", f"{where}.host")
    if entry.port is None:
        raise InvalidConfig("expected a port from 1 to 65535, got nothing", f"{where}.port")
    return entry.host, entry.port
