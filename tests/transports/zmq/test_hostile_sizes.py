"""Strangers who announce much before anybody knows them: the memory that they get is bounded."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import Program, Sides, running, tcp_sides, until

MIB = 2**20
HUGE = 300 * MIB
CHUNK = bytes(MIB)
COMMAND = b"\x06" + HUGE.to_bytes(8, "big") + b"\x05HELLO"

HOLD = """

with mb.MsgbusContext(config) as bus:
    endpoints = [bus.new_publisher("camera1"), bus.new_service("echo")] if "zmq_tcp_publish" in config else [
        bus.new_subscriber("camera1"), bus.get_service("echo")]
    print("open", flush=True)
    threading.Event().wait()
"""


def greeting(mechanism: bytes, *, server: bool) -> bytes:
    """Return what begins a connection of ZMTP 3.1."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes([server]) + bytes(31)


def peak(program: Program) -> int:
    """Return the most memory that the program ever had, in bytes."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def pour(peer: socket.socket, *, server: bool) -> int:
    """Send a command of 300 MB to a peer that does not know us; return how much of it went out."""
    sent = 0
    with contextlib.suppress(OSError):
        peer.settimeout(5)
        peer.sendall(greeting(b"CURVE", server=server) + COMMAND)
        while sent < HUGE:
            peer.sendall(CHUNK)
            sent += MIB
    return sent


@pytest.mark.parametrize("which", [0, 1], ids=["publisher", "service"])
def test_command_of_300_mb_takes_no_memory_when_nobody_knows_who_sends_it(
    free_ports: Callable[[int], list[int]], opened: Open, start: Start, which: int
) -> None:
    ports = free_ports(2)
    sides = tcp_sides(ports, "allow")
    program = holding(start, sides.server)
    before = peak(program)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", ports[which]), timeout=5) as stranger:
            assert pour(stranger, server=False) < HUGE
    assert_alive(sides, opened)
    assert peak(program) - before < 30 * MIB


def assert_alive(sides: Sides, opened: Open) -> None:
    subscriber = opened(sides.client).new_subscriber("camera1")
    until(lambda: subscriber._channel.link.up)  # type: ignore[attr-defined]


def holding(start: Start, config: dict[str, object]) -> Program:
    program = start(HOLD, config)
    program.line("open")
    return program


@pytest.mark.parametrize("which", [0, 1], ids=["subscriber", "requester"])
def test_command_of_300_mb_takes_no_memory_when_an_impostor_has_the_port(
    free_ports: Callable[[int], list[int]], start: Start, which: int
) -> None:
    ports = free_ports(2)
    poured: list[int] = []

    def serve() -> None:
        with server.accept()[0] as victim:
            poured.append(pour(victim, server=True))

    with socket.create_server(("127.0.0.1", ports[which])) as server:
        server.settimeout(10)
        with running(serve):
            program = holding(start, tcp_sides(ports, "allow").client)
            before = peak(program)
            until(lambda: poured)
    assert poured[0] < HUGE
    assert peak(program) - before < 30 * MIB
