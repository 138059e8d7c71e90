"""Fixtures of the broker's tests: both sides, with and without keys, and what connects to them."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus.broker import Broker, Settings, Side
from eis.msgbus.broker.streams import Streams
from tests.transports.zmq.conftest import opened, raw

__all__ = ["opened", "raw"]

BROKER, PUBLISHER, SUBSCRIBER, STRANGER = (keys.new_key_pair() for _ in range(4))

Start = Callable[..., Broker]


def streams_of(broker: Broker) -> Streams:
    """Return what carries the messages of a broker that has sides."""
    assert broker.streams is not None
    return broker.streams


def stream(publisher: mb.Publisher, stop: threading.Event) -> None:
    """Publish numbers, from 1 on, a thousand in a second."""
    for number in itertools.count(1):
        publisher.publish({"n": number})
        if stop.wait(0.001):
            return


class Place:
    """Where a broker is, and the configurations of what connects there. `keys` says whether its sides are guarded."""

    def __init__(self, directory: Path, ports: list[int], front: str, back: str) -> None:
        self.directory, self.ports = directory, dict(zip(("frontend", "backend"), ports, strict=True))
        self.kinds = {"frontend": front, "backend": back}

    def side(self, name: str, **more: Any) -> dict[str, Any]:
        """Return the configuration of a side of the broker."""
        kind = self.kinds[name]
        if kind == "ipc":
            return {"type": "zmq_ipc", "socket_dir": str(self.directory), "": {"socket_file": name}, "native": False}
        bind = {"host": "127.0.0.1", "port": self.ports[name]}
        if kind == "tcp":
            return {"type": "zmq_tcp", "zmq_tcp_publish": bind | more, "native": False}
        listed = {"frontend": {"pub": PUBLISHER.public}, "backend": {"sub": SUBSCRIBER.public}}[name]
        bind |= {"server_secret_key": BROKER.secret}
        return {"type": "zmq_tcp", "zmq_tcp_publish": bind | more, "clients": listed, "native": False}

    def address(self, name: str) -> str:
        """Return where a raw socket connects to a side."""
        ipc = self.kinds[name] == "ipc"
        return f"ipc://{self.directory}/{name}" if ipc else f"tcp://127.0.0.1:{self.ports[name]}"

    def publisher(self, pair: keys.KeyPair | None = PUBLISHER) -> dict[str, Any]:
        """Return the configuration of a brokered publisher."""
        if self.kinds["frontend"] == "ipc":
            entry = {"socket_file": "frontend", "brokered": True}
            return {"type": "zmq_ipc", "socket_dir": str(self.directory), "": entry}
        return {"type": "zmq_tcp", "zmq_tcp_publish": self._there("frontend", pair) | {"brokered": True}}

    def subscriber(self, pair: keys.KeyPair | None = SUBSCRIBER, *topics: str) -> dict[str, Any]:
        """Return the configuration of a subscriber."""
        if self.kinds["backend"] == "ipc":
            return {"type": "zmq_ipc", "socket_dir": str(self.directory), "": {"socket_file": "backend"}}
        there = self._there("backend", pair)
        return {"type": "zmq_tcp"} | dict.fromkeys(topics or ("camera1", "camera2", ""), there)

    def _there(self, name: str, pair: keys.KeyPair | None) -> dict[str, Any]:
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.ports[name]}
        if self.kinds[name] != "curve" or pair is None:
            return where
        return where | {
            "server_public_key": BROKER.public,
            "client_public_key": pair.public,
            "client_secret_key": pair.secret,
        }


@pytest.fixture
def place(socket_dir: Path, free_ports: Callable[[int], list[int]]) -> Callable[[str, str], Place]:
    """`place("ipc", "curve")`: what the frontend and the backend are."""
    return lambda front, back: Place(socket_dir, free_ports(2), front, back)


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(place, counting=True, backend={...})`: a broker that is closed after the test."""
    with ExitStack() as stack:

        def started(
            at: Place, *, counting: bool = False, frontend: Any = None, backend: Any = None, **queue: Any
        ) -> Broker:
            sides = (
                Side("frontend", at.side("frontend", **(frontend or {}))),
                Side("backend", at.side("backend", **(backend or {})), **queue),
            )
            return stack.enter_context(Broker(Settings(*sides), counting=counting))

        yield started
