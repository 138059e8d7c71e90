"""What a checked configuration means for each endpoint: where it binds or connects, and with which keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eis.msgbus._config.encryption import who_requires
from eis.msgbus._config.entries import (
    CLIENT_KEYS,
    FIXED,
    PUBLISH,
    Entry,
    Fixed,
    Memory,
    meant,
    not_a_file_name,
    place,
    read_entry,
    read_fixed,
)
from eis.msgbus._config.lists import Lists
from eis.msgbus._config.values import Bind, ClientKeys, Connect, Directory, SharedMemory, Users
from eis.msgbus.exceptions import InvalidConfig

__all__ = ["QUEUE_BYTES", "Config"]

_KEYS = (*CLIENT_KEYS, "server_secret_key")
_LISTS = ("clients", "allowed_clients", "topics", "allowed_users", "allowed_groups")

QUEUE_BYTES = 64 * 1024 * 1024
"""What may wait for one subscriber, on each side, where `queue_bytes` says nothing else: ten frames of 1080p."""


class Config:
    """Hold a checked configuration of `zmq_ipc` or `zmq_tcp`, and say what it means for each endpoint.

    Raises:
        InvalidConfig: here or in a method; see the package.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._entries = {name: read_entry(name, value) for name, value in config.items() if name not in FIXED}
        self._fixed = read_fixed(config)
        self._lists = Lists(self._fixed, self._entries)
        self._required_by = who_requires(self._fixed.require_encryption)
        self.recv_hwm = self._fixed.zmq_recv_hwm
        self.connect_retries = self._fixed.zmq_connect_retries
        self.queue_bytes = self._fixed.queue_bytes or QUEUE_BYTES
        self.max_message_bytes = self._fixed.max_message_bytes
        self.stalled_after = self._fixed.stalled_after
        self.native = self._fixed.native
        self.shared_memory = _shared_memory(self._fixed.shared_memory, self.queue_bytes) if self.native else None

    def check_reload(self, new: Config) -> None:
        """Refuse a configuration that a running program cannot go on with: all but keys, names and lists is as it was.

        Raises:
            InvalidConfig: with the key that differs.
        """
        _check_same(self._fixed, new._fixed, (*_LISTS, PUBLISH), "")
        _check_same_entry(PUBLISH, self._fixed.zmq_tcp_publish, new._fixed.zmq_tcp_publish)
        for name in {**self._entries, **new._entries}:
            _check_same_entry(name, self._entries.get(name), new._entries.get(name))

    # zmq_ipc

    def directory(self) -> Directory:
        """Return where the socket files are; the path is absolute."""
        fixed = self._fixed
        if fixed.socket_dir is None:
            raise InvalidConfig("expected the directory of the socket files, got nothing", "socket_dir")
        path = str(Path(fixed.socket_dir).absolute())
        return Directory(path, fixed.socket_group, fixed.shared_directory, fixed.allow_open_directory)

    def users(self, name: str) -> Users | None:
        """Return whose programs get in at the socket file of a publisher or service; None: all that reach it."""
        return self._lists.users(name)

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
            return self._connect(PUBLISH, entry)
        return self._bind(PUBLISH, entry)

    def tcp_client(self, name: str) -> Connect:
        """Return where the subscriber or requester of `name` connects."""
        return self._connect(place(name), self._own_entry(name))

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
            if (needs := self._lists.need_keys(entry) or self._required_by) is not None:
                raise _plain_text(needs, at)
        return Bind(host, port, entry.server_secret_key, self._lists.clients(where, entry))

    def _connect(self, where: str, entry: Entry) -> Connect:
        host, port = _address(where, entry)
        if host == "*":
            raise InvalidConfig("expected the host to connect to, got '*'", f"{where}.host")
        keys = _client_keys(where, entry)
        if keys is None and self._required_by is not None:
            raise _plain_text(self._required_by, f"{where}.{CLIENT_KEYS[0]}")
        return Connect(host, port, keys)


def _shared_memory(said: bool | Memory, queue_bytes: int) -> SharedMemory | None:
    if said is False:
        return None
    said = Memory() if said is True else said
    max_bytes = said.max_bytes or max(SharedMemory.max_bytes, queue_bytes)
    return SharedMemory(said.slots or SharedMemory.slots, max_bytes, queue_bytes if said.slots is None else 0)


def _plain_text(needs: str, where: str) -> InvalidConfig:
    return InvalidConfig(f"{needs} needs it: without it everything is plain text", where)


def _check_same_entry(name: str, before: Entry | None, after: Entry | None) -> None:
    """Compare two entries; none is as one that has lists only."""
    before, after = before or Entry(), after or Entry()
    _check_same(before, after, (*_LISTS, *_KEYS), f"{place(name)}.")
    for key in _KEYS:
        if (getattr(before, key) is None) is not (getattr(after, key) is None):
            problem = "encryption cannot be switched on or off while the program runs: open a new context"
            raise InvalidConfig(problem, f"{place(name)}.{key}")


def _check_same(before: Fixed | Entry, after: Fixed | Entry, changing: tuple[str, ...], where: str) -> None:
    for key in before.__struct_fields__:
        was, now = getattr(before, key), getattr(after, key)
        if key not in changing and was != now:
            told = ["nothing" if value is None else repr(value) for value in (was, now)]
            problem = f"expected {told[0]} as before, got {told[1]}: open a new context for anything but keys and lists"
            raise InvalidConfig(problem, f"{where}{key}")


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
    return entry.host.removeprefix("[").removesuffix("]"), entry.port
