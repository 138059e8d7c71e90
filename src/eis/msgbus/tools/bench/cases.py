"""What is measured: plain data. No processes, no clocks, no sockets."""

import dataclasses
import socket
import sys
from collections.abc import Iterator
from typing import Any

from eis.msgbus import keys

__all__ = ["NAME", "SIZES", "Case", "Job", "cases", "job_of"]

NAME = "bench"
SIZES = {"small": 0, "64 KiB": 65_536, "1 MB": 1_000_000, "6.2 MB": 1920 * 1080 * 3}
"""Bytes of the blob; 0: metadata alone."""

_HOST = "127.0.0.1"
_LARGE = 1_000_000
_BATCHES = {0: 100, 65_536: 10}
_IPC = sys.platform != "win32"


@dataclasses.dataclass(frozen=True)
class Case:
    """Be one line of the result: which way, how large, and whether frames are made in place or copied in."""

    way: str
    size: str = "small"
    in_place: bool = False
    requests: bool = False

    @property
    def title(self) -> str:
        """Return what it is called."""
        return f"{self.way}, in place" if self.in_place else self.way


@dataclasses.dataclass(frozen=True)
class Job:
    """Tell the processes what to do: how long, where, how large, how fast when times are taken.

    No more than four batches are on their way: who publishes does not overrun who subscribes.
    """

    server: dict[str, Any] = dataclasses.field(repr=False)
    client: dict[str, Any] = dataclasses.field(repr=False)
    nbytes: int
    in_place: bool
    requests: bool
    seconds: float
    batch: int
    per_second: int


def cases() -> Iterator[Case]:
    """Yield all cases of this machine."""
    ways = (*(("ipc socket",) if _IPC else ()), "tcp", "tcp, CURVE")
    for size, nbytes in SIZES.items():
        if _IPC and nbytes:  # only blobs are shared
            yield Case("shared memory", size)
            yield Case("shared memory", size, in_place=True)
        yield from (Case(way, size) for way in ways)
    yield from (Case(way, requests=True) for way in ways)


def job_of(case: Case, directory: str, seconds: float) -> Job:
    """Return what the processes do for a case, with an address that nobody else uses."""
    nbytes = SIZES[case.size]
    server, client = _sides(case.way, directory)
    pace = 30 if nbytes >= _LARGE else 200
    return Job(server, client, nbytes, case.in_place, case.requests, seconds, _BATCHES.get(nbytes, 1), pace)


def _sides(way: str, directory: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if not way.startswith("tcp"):
        ipc = {"type": "zmq_ipc", "socket_dir": directory, "shared_memory": way == "shared memory"}
        return ipc, ipc
    at: dict[str, Any] = {"host": _HOST, "port": _free_port()}
    of_server, of_client = {}, {}
    if way.endswith("CURVE"):
        server, client = keys.new_key_pair(), keys.new_key_pair()
        of_server = {"server_secret_key": server.secret, "allowed_clients": [client.public]}
        of_client = {
            "server_public_key": server.public,
            "client_public_key": client.public,
            "client_secret_key": client.secret,
        }
    listening = at | of_server
    return {"type": "zmq_tcp", "zmq_tcp_publish": listening, NAME: listening}, {"type": "zmq_tcp", NAME: at | of_client}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
