"""What each process of the demo is told: configurations of the bus with fresh keys. Does not know who starts them."""

import socket
from contextlib import ExitStack
from typing import Any

import msgspec

from eis.msgbus import keys
from eis.msgbus.tools.demo.messages import FRAMES, RESULTS, SNAPSHOT

_HOST = "127.0.0.1"


class Options(msgspec.Struct, frozen=True):
    """Hold what the user asked for: no `source` is the rendered scene, no `seconds` is to the end of the film."""

    source: str | None = None
    seconds: float | None = None
    tcp: bool = False
    output: str = "msgbus-demo"

    @property
    def mode(self) -> str:
        """Return the transport of the frames."""
        return "zmq_tcp" if self.tcp else "zmq_ipc"


class Settings(msgspec.Struct, frozen=True):
    """Hold what one process is told through its pipe: `frames` and `results` hold secrets and are in no repr."""

    options: Options
    directory: str
    frames: dict[str, Any] = {}
    results: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Settings({self.options!r}, directory={self.directory!r})"


def is_device(source: str) -> bool:
    """Tell whether a source is a camera, not a film."""
    return source.isdecimal() or source.startswith("/dev/")


def for_each_role(options: Options, directory: str) -> dict[str, Settings]:
    """Return what the viewer, analytics and ingestion are told; `directory` is theirs alone."""
    frames_port, results_port, snapshot_port = _free_ports(3)
    sending, receiving = _frames(options.mode, directory, frames_port)
    serving, viewing = _results(results_port, snapshot_port)
    return {
        "viewer": Settings(options, directory, results=viewing),
        "analytics": Settings(options, directory, frames=receiving, results=serving),
        "ingestion": Settings(options, directory, frames=sending),
    }


def _frames(mode: str, directory: str, port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both ends of the frames: keys that the mode has no use for would name topics."""
    if mode == "zmq_ipc":
        ipc = {"type": mode, "socket_dir": directory}
        return ipc, ipc
    place = {"host": _HOST, "port": port}
    return {"type": mode, "zmq_tcp_publish": place}, {"type": mode, FRAMES: place}


def _results(results_port: int, snapshot_port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both ends of the results and snapshots: each knows the other's public key, one client is let in."""
    server, client = keys.new_key_pair(), keys.new_key_pair()
    secret = {"host": _HOST, "server_secret_key": server.secret}
    known = {
        "host": _HOST,
        "server_public_key": server.public,
        "client_public_key": client.public,
        "client_secret_key": client.secret,
    }
    serving = {
        "type": "zmq_tcp",
        "allowed_clients": [client.public],
        "zmq_tcp_publish": {**secret, "port": results_port},
        SNAPSHOT: {**secret, "port": snapshot_port},
    }
    return serving, {
        "type": "zmq_tcp",
        RESULTS: {**known, "port": results_port},
        SNAPSHOT: {**known, "port": snapshot_port},
    }


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:  # all at once, so that no two are the same
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_HOST, 0))
        return [each.getsockname()[1] for each in sockets]
