"""What a checked configuration means, as plain frozen values. Knows no key of a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

__all__ = ["Bind", "ClientKeys", "Clients", "Connect", "Directory", "SharedMemory", "Users"]


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
    """Say whose programs get in at a socket file: users and groups of the system, by name or number.

    `where` is the entry that lists them.
    """

    users: tuple[str | int, ...] = ()
    groups: tuple[str | int, ...] = ()
    where: str = dataclasses.field(default="", compare=False)


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
class SharedMemory:
    """Say how much shared memory a publisher has for frames: so many slots, and at most so many bytes in all.

    By default as many as serve four subscribers that hold two frames each, and eight frames, a quarter of a second
    at 30 Hz, on the way; of at most 16 MiB each. Of smaller frames there are more slots: as many as hold `burst` bytes.
    """

    slots: int = 16
    max_bytes: int = 256 * 1024 * 1024
    burst: int = 0


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
