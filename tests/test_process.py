"""What a fork and SIGTERM do to the endpoints of a process: real processes, in every mode that matters."""

import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import aio
from eis.msgbus._endpoint import process
from tests.transports.zmq.helpers import Program, Sides, ipc_sides, until

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor SIGTERM"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # it is what is tested
]

COUNT = 200  # messages of 1 MB, fewer than a queue holds, and more than is on its way when the program ends
Run = Callable[[str, dict[str, Any]], Program]
PUBLISHES = f"""
bus = mb.MsgbusContext(config)
publisher = bus.new_publisher("camera1")
publisher.wait_for_subscribers(1, 10000)
blob = bytes(1_000_000)
for n in range({COUNT}):
    publisher.publish(({{"n": n}}, blob))
print("published", flush=True)
"""


@pytest.fixture
def sides(socket_dir: Path) -> Sides:
    sides = ipc_sides(socket_dir)
    return dataclasses.replace(sides, server=sides.server | {"queue_bytes": 2 * COUNT * 1_000_000})


def in_child(use: Callable[[], object]) -> str:
    """Return what `use` says in the child of a fork: what it raises, or nothing."""
    reader, writer = os.pipe()
    tracer = sys.gettrace()
    sys.settrace(None)  # coverage has a lock, which another thread may hold: the child would wait for it for ever
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)  # a child that hangs is killed, and says nothing
        said = "returned"
        try:
            use()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the parent hears of it
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    sys.settrace(tracer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


USES: dict[str, Callable[[dict[str, Any]], object]] = {
    "publisher camera1": lambda has: has["publisher"].publish({"n": 1}),
    "publisher  camera1": lambda has: has["publisher"].wait_for_subscribers(1, 100),
    "subscriber camera1": lambda has: has["subscriber"].recv(100),
    "subscriber  camera1": lambda has: list(has["subscriber"]),
    "subscriber   camera1": lambda has: has["subscriber"].stats,
    "service echo": lambda has: has["service"].recv(100),
    "service  echo": lambda has: has["service"].response({}),
    "requester echo": lambda has: has["requester"].request({}, timeout=100),
    "requester  echo": lambda has: has["requester"].request({}),
    "this context": lambda has: has["bus"].new_publisher("camera2"),
    "this  context": lambda has: has["bus"].get_service("echo"),
}


@pytest.mark.parametrize("what", USES)
def test_what_was_made_before_a_fork_says_so_in_the_child(what: str, sides: Sides) -> None:
    with mb.MsgbusContext(sides.server) as bus:
        has: dict[str, Any] = {
            "bus": bus,
            "publisher": bus.new_publisher("camera1"),
            "subscriber": bus.new_subscriber("camera1"),
            "service": bus.new_service("echo"),
            "requester": bus.get_service("echo"),
        }
        has["publisher"].wait_for_subscribers(1, 5000)
        has["publisher"].publish({"n": 0})
        said = in_child(lambda: USES[what](has))
        expected = " ".join(what.split())
        assert said == f"MessageBusError: {expected} was made before a fork: make a new context in the child process"
        assert has["subscriber"].recv(5000).meta_data == {"n": 0}  # the parent's, untouched


def test_child_of_a_fork_may_close_what_it_inherited_though_other_threads_used_it(sides: Sides) -> None:
    with mb.MsgbusContext(sides.server) as bus:
        publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
        stop = threading.Event()

        def publish() -> None:
            while not stop.is_set():
                publisher.publish({"n": 1})

        def close() -> None:
            for each in (publisher, subscriber, bus):
                each.close()

        threads = [threading.Thread(target=publish), threading.Thread(target=lambda: list(subscriber))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                assert in_child(close) == "returned"
        finally:
            stop.set()
            subscriber.close()
            for thread in threads:
                thread.join(10)


def test_child_of_a_fork_makes_a_context_of_its_own(sides: Sides) -> None:
    def echo() -> None:
        with mb.MsgbusContext(sides.client) as own:
            envelope = own.get_service("echo").request({"from": "child"}, timeout=10_000)
            assert envelope.meta_data == {"from": "child"}

    with mb.MsgbusContext(sides.server) as bus:
        service = bus.new_service("echo")
        answering = threading.Thread(target=lambda: service.response(service.recv(10_000)))
        answering.start()
        assert in_child(echo) == "returned"
        answering.join(10)


def test_stats_of_what_was_made_before_a_fork_say_so_in_the_child(sides: Sides) -> None:
    with mb.MsgbusContext(sides.server) as bus:
        publisher = bus.new_publisher("camera1")
        assert in_child(bus.stats).startswith("MessageBusError: publisher camera1 was made before a fork")
        publisher.publish({})


def test_asyncio_endpoint_says_so_in_the_child(sides: Sides) -> None:
    bus = aio.MsgbusContext(sides.server)
    publisher = bus.new_publisher("camera1")
    assert in_child(lambda: publisher.publish({})).startswith("MessageBusError: publisher camera1 was made before")
    bus.close()


def test_process_of_multiprocessing_says_so(sides: Sides) -> None:
    context = multiprocessing.get_context("fork")
    said = context.SimpleQueue()

    def use() -> None:
        try:
            publisher.publish({})
        except mb.MessageBusError as error:
            said.put(str(error))

    with mb.MsgbusContext(sides.server) as bus:
        publisher = bus.new_publisher("camera1")
        tracer = sys.gettrace()
        sys.settrace(None)  # as above
        child = context.Process(target=use)
        child.start()
        sys.settrace(tracer)
        assert said.get().startswith("publisher camera1 was made before a fork")
        child.join(10)
        assert child.exitcode == 0


def received(subscriber: mb.Subscriber[Any]) -> int:
    """Count the messages that come until none does for a second."""
    count = 0
    try:
        while True:
            subscriber.recv(2000)
            count += 1
    except mb.ReceiveTimeout:
        return count


@pytest.fixture
def run() -> Iterator[Run]:
    """`run(code, config)`: a program that is gone after the test."""
    programs: list[Program] = []

    def start(code: str, config: dict[str, Any]) -> Program:
        programs.append(Program(code, config))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


# In slices: a signal that comes just before Python waits for a lock is noticed after the wait.
WAITS = "while True: threading.Event().wait(0.2)"
ENDINGS = {
    "sigterm": (WAITS, -signal.SIGTERM),
    "sigterm-to-asyncio": ("import asyncio\nasyncio.run(asyncio.Event().wait())", -signal.SIGTERM),
    "sigterm-while-closing": (f"bus.close()\n{WAITS}", -signal.SIGTERM),
    "exit": ("sys.exit(3)", 3),
    "end": ("", 0),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_published_is_delivered_when_the_program_ends(run: Run, ending: str, sides: Sides) -> None:
    code, status = ENDINGS[ending]
    with mb.MsgbusContext(sides.client) as bus:
        subscriber = bus.new_subscriber("camera1")
        ended = run(PUBLISHES + code, sides.server)
        ended.line("published")
        if status < 0:
            ended.process.terminate()
        assert received(subscriber) == COUNT
        assert ended.process.wait(10) == status


def test_sigterm_ends_the_program_in_time_when_nobody_reads(run: Run, sides: Sides) -> None:
    with mb.MsgbusContext(sides.client | {"zmq_recv_hwm": 10, "shared_memory": False}) as bus:
        subscriber = bus.new_subscriber("camera1")
        ended = run(PUBLISHES + WAITS, sides.server)
        ended.line("published")
        ended.process.terminate()
        assert ended.process.wait(10) == -signal.SIGTERM
        assert received(subscriber) < COUNT


@pytest.mark.parametrize("when", ["before", "after"])
def test_program_keeps_its_own_answer_to_sigterm(run: Run, when: str, sides: Sides) -> None:
    own = "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n"
    code = "bus = mb.MsgbusContext(config)\nbus.new_publisher('camera1')\n"
    code = (own + code if when == "before" else code + own) + "print('ready', flush=True)\n" + WAITS
    ended = run(code, sides.server)
    ended.line("ready")
    ended.process.terminate()
    assert ended.process.wait(10) == 7


def test_sigterm_closes_the_others_when_one_bus_cannot_close(run: Run, sides: Sides) -> None:
    code = (
        """
broken = mb.MsgbusContext({"type": "memory"})
def fail(): raise RuntimeError("broken")
broken.close = broken._close_endpoints = fail
"""
        + PUBLISHES
        + WAITS
    )
    with mb.MsgbusContext(sides.client) as bus:
        subscriber = bus.new_subscriber("camera1")
        ended = run(code, sides.server)
        ended.line("published")
        ended.process.terminate()
        assert received(subscriber) == COUNT
        assert ended.process.wait(10) == -signal.SIGTERM


def test_socket_file_is_gone_after_sigterm(run: Run, sides: Sides, socket_dir: Path) -> None:
    ended = run("bus = mb.MsgbusContext(config)\np = bus.new_publisher('camera1')\n" + WAITS, sides.server)
    until((socket_dir / "pub").is_socket)
    ended.process.terminate()
    assert ended.process.wait(10) == -signal.SIGTERM
    assert list(socket_dir.iterdir()) == []


# The same in this process, where the lines that run are counted.


def test_everything_that_is_open_is_inherited_by_the_child() -> None:
    with mb.MsgbusContext({"type": "memory"}) as bus:
        opened = [bus.new_publisher("x"), bus.new_subscriber("x"), bus.new_service("y"), bus.get_service("y")]
        process._forked()
        for endpoint in opened:
            with pytest.raises(mb.MessageBusError, match=f"{endpoint.kind} {endpoint.name} was made before a fork"):
                _ = endpoint.stats
            assert endpoint.status.state == "closed"
            endpoint.close()
        with pytest.raises(mb.MessageBusError, match="this context was made before a fork"):
            bus.new_publisher("x")
    bus._transport = None  # type: ignore[assignment]  # lets go of what the child would leave to its parent


def test_signal_is_sent_again_when_everything_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *to: sent.append(to))
    monkeypatch.setattr(process, "_told_to_end", False)
    before = signal.getsignal(signal.SIGTERM)
    try:
        bus = mb.MsgbusContext({"type": "memory"})
        with process.closing():
            process._terminate(signal.SIGTERM, None)
            assert sent == []
            assert bus._finalizer.alive is False
        assert sent == [(os.getpid(), signal.SIGTERM)]
        process._terminate(signal.SIGTERM, None)
        assert len(sent) == 2
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ending = threading.Thread(target=process._end)
        ending.start()
        ending.join()
        assert len(sent) == 3
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signal_is_left_alone_by_a_context_of_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(process, "_installed", False)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with mb.MsgbusContext({"type": "memory"}):
            assert signal.getsignal(signal.SIGTERM) is process._terminate
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with mb.MsgbusContext({"type": "memory"}):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # the program's own wish, after ours
        monkeypatch.setattr(process, "_installed", False)
        opening = threading.Thread(target=lambda: mb.MsgbusContext({"type": "memory"}).close())
        opening.start()
        opening.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signal.signal(signal.SIGTERM, before_us := lambda *_: None)
        with mb.MsgbusContext({"type": "memory"}):
            assert signal.getsignal(signal.SIGTERM) is before_us
    finally:
        signal.signal(signal.SIGTERM, before)
