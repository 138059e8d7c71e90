"""What a broker costs: the same publisher and subscriber, written by hand, with one broker or another in between.

The broker is a process of its own, which the receiver starts and ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from benchmarks import by_hand
from benchmarks.by_hand import HIGH_WATER_MARK
from benchmarks.place import NAME, Place
from benchmarks.work import WARNING_TIME, Role

BROKER, COUNTING, PROXY = "msgbus broker", "msgbus broker --stats", "zmq.proxy"

_PROXY = """
import sys, zmq
context = zmq.Context()
frontend, backend = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
frontend.rcvhwm = backend.sndhwm = int(sys.argv[3])
frontend.bind(sys.argv[1])
backend.bind(sys.argv[2])
zmq.proxy(frontend, backend)
"""


def small(broker: str) -> tuple[Role, Role]:
    """Return who sends and receives small messages through a broker."""
    return partial(by_hand.small_sender, opened=_publisher), partial(
        by_hand.small_receiver, opened=partial(_subscriber, broker)
    )


def of_frames(broker: str) -> tuple[Role, Role]:
    """Return who sends and receives frames through a broker."""
    return partial(by_hand.frame_sender, opened=_publisher), partial(
        by_hand.frame_receiver, opened=partial(_subscriber, broker)
    )


def _ends(place: Place) -> tuple[str, str]:
    return f"ipc://{place.directory}/frontend", f"ipc://{place.directory}/backend"


def _command(broker: str, place: Place) -> Sequence[str]:
    if broker == PROXY:
        return [sys.executable, "-c", _PROXY, *_ends(place), str(HIGH_WATER_MARK)]
    sides: dict[str, dict[str, Any]] = {
        name: {"type": "zmq_ipc", "socket_dir": place.directory, "": {"socket_file": name}}
        for name in ("frontend", "backend")
    }
    sides["frontend"]["zmq_recv_hwm"] = sides["backend"]["zmq_send_hwm"] = HIGH_WATER_MARK
    path = Path(place.directory) / "broker.json"
    path.write_text(json.dumps(sides))
    counting = ("--stats", "--json", "--every", "3600") if broker == COUNTING else ()
    return [sys.executable, "-m", "eis.msgbus", "broker", str(path), *counting]


@contextmanager
def _connected(kind: int, address: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.rcvtimeo = WARNING_TIME
        socket.sndhwm = socket.rcvhwm = HIGH_WATER_MARK
        if kind == zmq.SUB:
            socket.subscribe(NAME)
        socket.connect(address)
        yield socket
        socket.linger = 0


@contextmanager
def _publisher(place: Place) -> Iterator[zmq.Socket[bytes]]:
    """Connect to the frontend, and wait for the subscription."""
    with _connected(zmq.XPUB, _ends(place)[0]) as socket:
        socket.recv()
        yield socket


@contextmanager
def _subscriber(broker: str, place: Place) -> Iterator[zmq.Socket[bytes]]:
    """Start the broker, and connect to its backend."""
    with subprocess.Popen(_command(broker, place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with _connected(zmq.SUB, _ends(place)[1]) as socket:
                yield socket
        finally:
            process.kill()
