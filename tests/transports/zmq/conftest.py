"""Fixtures of the ZeroMQ transports: both sides of a bus in every mode, raw peers, programs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from tests.transports.zmq.helpers import MODES, TCP_MODES, Program, Sides, ipc_sides, tcp_sides

Raw = Callable[..., "zmq.Socket[bytes]"]
Start = Callable[..., Program]
Open = Callable[[Mapping[str, Any]], mb.MsgbusContext]


@pytest.fixture
def make_sides(socket_dir: Path, free_ports: Callable[[int], list[int]]) -> Callable[[str], Sides]:
    """`make_sides("curve")`: the configurations of both sides in that mode."""
    return lambda mode: ipc_sides(socket_dir) if mode == "ipc" else tcp_sides(free_ports(2), mode)


@pytest.fixture(params=MODES)
def sides(request: pytest.FixtureRequest, make_sides: Callable[[str], Sides]) -> Sides:
    """Both sides, in every mode."""
    return make_sides(request.param)


@pytest.fixture(params=("ipc", "tcp"))
def plain_sides(request: pytest.FixtureRequest, make_sides: Callable[[str], Sides]) -> Sides:
    """Both sides, in the modes without keys."""
    return make_sides(request.param)


@pytest.fixture(params=TCP_MODES)
def tcp_sides_of_each(request: pytest.FixtureRequest, make_sides: Callable[[str], Sides]) -> Sides:
    """Both sides, in the modes between machines."""
    return make_sides(request.param)


@pytest.fixture
def opened() -> Iterator[Open]:
    """`opened(config)`: a context that is closed after the test."""
    with ExitStack() as stack:
        yield lambda config: stack.enter_context(mb.MsgbusContext(config))


@pytest.fixture
def server(sides: Sides, opened: Open) -> mb.MsgbusContext:
    return opened(sides.server)


@pytest.fixture
def client(sides: Sides, opened: Open) -> mb.MsgbusContext:
    return opened(sides.client)


@pytest.fixture
def raw() -> Iterator[Raw]:
    """`raw(zmq.PUB, bind=address)` or `raw(zmq.SUB, connect=address, **options)`: a bare socket, with a time limit."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    sockets = []

    def open_socket(kind: int, bind: str = "", connect: str = "", **options: Any) -> "zmq.Socket[bytes]":
        socket = context.socket(kind)
        sockets.append(socket)
        socket.linger = 0
        socket.rcvtimeo = socket.sndtimeo = 5000
        for name, value in options.items():
            setattr(socket, name, value)
        if bind:
            socket.bind(bind)
        if connect:
            socket.connect(connect)
        return socket

    yield open_socket
    context.destroy(linger=0)


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(code, config)`: a program that is gone after the test."""
    with ExitStack() as stack:

        def start_program(code: str, config: object, **options: Any) -> Program:
            program = Program(code, config, **options)
            stack.callback(program.close)
            return program

        yield start_program
