"""Connections that take descriptors: the limit is raised, and the lack of them told."""

import errno
import os
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest

import eis.msgbus as mb
from eis.msgbus.transports.zmq import descriptors, runtime
from eis.msgbus.transports.zmq.descriptors import Alarm, raise_limit
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import Program, Sides, until

SERVE = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with mb.MsgbusContext(config) as bus:
    publisher = bus.new_publisher("camera1")
    print("open", flush=True)
    sys.stdin.readline()
    publisher.wait_for_subscribers(1, 10000)
    publisher.publish({"limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0]})
"""


def caller(sides: Sides) -> Callable[[], socket.socket]:
    """Return a function that connects to the publisher, and says nothing."""
    kind, _, where = sides.publisher.partition("://")
    if kind == "tcp":
        host, _, port = where.partition(":")
        return lambda: socket.create_connection((host, int(port)), timeout=10)

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(where)  # waits while too many others do
        return connection

    return connect


def test_300_idle_connections_harm_nobody_when_256_descriptors_were_allowed(
    sides: Sides, opened: Open, start: Start
) -> None:
    program = start(SERVE, sides.server, stdin=-1)
    program.line("open")
    connect = caller(sides)
    with ExitStack() as idle:
        for _ in range(300):
            idle.enter_context(connect())
        subscriber = opened(sides.client).new_subscriber("camera1")
        assert program.process.stdin is not None
        with program.process.stdin as stdin:
            stdin.write("\n")
        assert subscriber.recv(10000).meta_data["limit"] > 300
        program.ends()


def test_idle_connection_is_closed_when_it_does_not_say_who_it_is(sides: Sides, opened: Open) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    with caller(sides)() as idle:
        idle.settimeout(4)
        while idle.recv(100):  # the greeting, and then the end: within the time of a handshake and a second
            pass
    until(lambda: publisher.stats.refused == 1)


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (256, 1_000_000, 65536),
        (256, 4096, 4096),
        (256, resource.RLIM_INFINITY, 65536),
        (70000, 1_000_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_limit_is_raised_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: said.append(limits))
    raise_limit.__wrapped__()
    assert said == ([] if raised is None else [(raised, hard)])


def test_nothing_happens_when_the_system_does_not_let_the_limit_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_limit.__wrapped__()


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_scarce_descriptors_are_told_once_and_again_after_they_were_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, alarm = Clock(), Alarm()
    monkeypatch.setattr(descriptors, "time", clock)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    for descriptor in (79, 80, 81, 99, 20, 80):  # the last one within the time of quiet
        alarm.look(descriptor, "box:5555")
    clock.now += 10
    alarm.look(85, "box:5555")
    assert [record.message for record in caplog.records] == [
        "box:5555: 81 of 100 descriptors are in use (raise ulimit -n)",
        "box:5555: 86 of 100 descriptors are in use (raise ulimit -n)",
    ]


def test_nothing_is_raised_nor_scarce_where_the_system_has_no_such_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    raise_limit.__wrapped__()
    Alarm().look(10**6, "box:5555")
    assert caplog.records == []


def test_descriptors_are_never_scarce_without_a_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    Alarm().look(10**6, "box:5555")
    assert caplog.records == []


SCARCE = """
import resource
from eis.msgbus.transports.zmq import runtime
runtime.raise_limit = lambda: None
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
with mb.MsgbusContext(config) as bus:
    publisher = bus.new_publisher("camera1")
    print("open", flush=True)
    sys.stdin.readline()
"""


def in_use(program: Program) -> int:
    """Return how many descriptors the program has."""
    return len(list(Path(f"/proc/{program.process.pid}/fd").iterdir()))


def test_program_says_that_connections_take_its_descriptors(sides: Sides, start: Start) -> None:
    program = start(SCARCE, sides.server, stdin=-1)
    program.line("open")
    connect = caller(sides)
    with ExitStack() as idle:
        for _ in range(56 - in_use(program)):
            idle.enter_context(connect())
        until(lambda: in_use(program) >= 56)
        assert program.process.stdin is not None
        program.process.stdin.close()
        assert "of 64 descriptors are in use (raise ulimit -n)" in program.ends()


def none_left(*_: object) -> NoReturn:
    raise OSError(errno.EMFILE, "Too many open files")


def test_context_is_refused_when_there_are_too_few_descriptors_for_it(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = opened(sides.client)
    with monkeypatch.context() as short:
        short.setattr(os, "open", none_left)
        with pytest.raises(mb.MessageBusError) as caught:
            bus.new_subscriber("camera1")
    assert str(caught.value) == "expected 16 descriptors for a context (raise ulimit -n): Too many open files"
    assert bus.new_subscriber("camera1").status.state == "connecting"


def test_endpoint_is_refused_when_there_is_no_descriptor_to_wait_for(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = opened(sides.client)
    assert bus.new_subscriber("").status.state == "connecting"  # the context is there
    with monkeypatch.context() as short:
        short.setattr(socket, "socketpair", none_left)
        with pytest.raises(mb.MessageBusError, match=r"cannot open a descriptor \(raise ulimit"):
            bus.new_subscriber("camera1")
    assert bus.new_subscriber("camera1").status.state == "connecting"


def test_context_ends_though_nothing_was_left_for_the_events_of_a_socket(
    make_sides: Callable[[str], Sides], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_MAX_SOCKETS", 5)  # one for messages, two for its events, then one too few
    with mb.MsgbusContext(make_sides("ipc").client) as bus:
        kept = bus.new_subscriber("camera1")
        with pytest.raises(mb.MessageBusError, match="Too many open files"):
            bus.new_subscriber("camera1")
        assert kept.status.state == "connecting"
        opened: Any = bus._transport._runtime  # type: ignore[attr-defined]
    assert (opened.supervisor._watches, opened.context.closed) == ({}, True)
