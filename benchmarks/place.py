"""Where a pair of processes meets, for both kinds of contender: an address for pyzmq, a configuration for the bus."""

from __future__ import annotations

import dataclasses
import socket
from typing import Any

import zmq

NAME = "bench"
HOST = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class Keys:
    """Hold the CURVE keys of a server and of its one client."""

    server_public: bytes
    server_secret: bytes = dataclasses.field(repr=False)
    client_public: bytes
    client_secret: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Place:
    """Name a directory for socket files, or a free port (0: ipc), the keys where the link is encrypted, who comes."""

    directory: str
    port: int = 0
    keys: Keys | None = None
    subscribers: int = 1

    @property
    def endpoint(self) -> str:
        """Return the address as ZeroMQ writes it."""
        return f"tcp://{HOST}:{self.port}" if self.port else f"ipc://{self.directory}/{NAME}"

    def server(self) -> dict[str, Any]:
        """Return the configuration of the side that binds."""
        if not self.port:
            return {"type": "zmq_ipc", "socket_dir": self.directory}
        where: dict[str, Any] = {"host": HOST, "port": self.port}
        if self.keys is None:
            return {"type": "zmq_tcp", "zmq_tcp_publish": where, NAME: where}
        where["server_secret_key"] = self.keys.server_secret.decode()
        allowed = [self.keys.client_public.decode()]
        return {"type": "zmq_tcp", "zmq_tcp_publish": where, NAME: where, "allowed_clients": allowed}

    def client(self) -> dict[str, Any]:
        """Return the configuration of the side that connects."""
        if not self.port:
            return {"type": "zmq_ipc", "socket_dir": self.directory}
        where: dict[str, Any] = {"host": HOST, "port": self.port}
        if self.keys is not None:
            where["server_public_key"] = self.keys.server_public.decode()
            where["client_public_key"] = self.keys.client_public.decode()
            where["client_secret_key"] = self.keys.client_secret.decode()
        return {"type": "zmq_tcp", NAME: where}


def new_place(mode: str, directory: str, subscribers: int = 1) -> Place:
    """Return a fresh place for `ipc`, `tcp` or `curve`."""
    if mode == "ipc":
        return Place(directory, subscribers=subscribers)
    keys = Keys(*zmq.curve_keypair(), *zmq.curve_keypair()) if mode == "curve" else None
    return Place(directory, _free_port(), keys, subscribers)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
