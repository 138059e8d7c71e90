"""What an application does on the bus: where it listens or connects, for which names, with which keys. No rules."""

import dataclasses
import ipaddress
from collections.abc import Mapping
from typing import Any, Literal

__all__ = ["Link", "Role", "Where"]

Role = Literal["publisher", "subscriber", "service", "requester", "client", "any"]
"""A `client` is a subscriber or requester: its configuration does not say which. `any` may be a service too."""

_EVERY = ("0.0.0.0", "*", "::")  # noqa: S104  # compared, not bound


@dataclasses.dataclass(frozen=True)
class Where:
    """Be an address: a host and a port, or a socket file in a directory."""

    host: str = ""
    port: int = 0
    directory: str = ""
    file: str = ""

    def __str__(self) -> str:
        return f"{self.directory}/{self.file}" if self.directory else f"{self.host}:{self.port}"

    @property
    def everywhere(self) -> bool:
        """Tell whether it stands for every address of its machine."""
        return self.host in _EVERY

    @property
    def loopback(self) -> bool:
        """Tell whether only its own machine reaches it."""
        return self.host == "localhost" or (self.is_address and ipaddress.ip_address(self.host).is_loopback)

    @property
    def is_address(self) -> bool:
        """Tell whether the host is an address, and no name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def reaches(self, listening: "Where") -> bool:
        """Tell whether who connects here reaches what listens there."""
        if self.directory:
            return (self.directory, self.file) == (listening.directory, listening.file)
        if listening.directory or self.port != listening.port:
            return False
        if listening.everywhere or self.host == listening.host:
            return True
        # A name may be that of any address, but for the one that only its own machine reaches.
        return self.loopback is listening.loopback and (self.loopback or self.is_address is not listening.is_address)


@dataclasses.dataclass(frozen=True)
class Link:
    """Be one place of one application on the bus.

    `names` are topics, beginnings of topics, or the service; empty where the configuration does not say them.
    `side` is which one of a broker it is, if it is one. `server_keys` are the public keys that a client takes from its
    server, or the one that a server has. `own_key` is the public key of a client. `allowed` are the public keys that a
    server lets in, None for all; `topics` whose may read what, or at a frontend publish. `app` and `peer` are names of
    EIS/EII applications, `allowed_apps` those that a server names, None for all.
    """

    file: str
    where: str
    role: Role
    type: str
    at: Where
    names: tuple[str, ...] = ()
    brokered: bool = False
    side: str = ""
    server_keys: frozenset[str] = frozenset()
    own_key: str | None = None
    allowed: frozenset[str] | None = None
    topics: Mapping[str, frozenset[str]] | None = None
    app: str = ""
    peer: str | None = None
    allowed_apps: frozenset[str] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return how a person calls the application."""
        return self.app or self.file

    @property
    def listens(self) -> bool:
        """Tell whether it surely listens."""
        return self.role in ("publisher", "service") and not self.brokered

    @property
    def connects(self) -> bool:
        """Tell whether it surely connects."""
        return self.role in ("subscriber", "requester", "client") or self.brokered

    @property
    def encrypted(self) -> bool:
        """Tell whether it has keys."""
        return bool(self.server_keys)
