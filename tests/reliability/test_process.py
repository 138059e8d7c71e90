"""E: what the operating system does to a process: no room, no descriptors, no memory, threads, signals, forks."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

import eis.msgbus as mb
from tests.reliability.conftest import Effort, Record
from tests.reliability.history import History, numbered
from tests.reliability.processes import PUBLISH
from tests.reliability.streams import taking
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import Program, Sides, running, until

Make = Callable[[str], Sides]
is_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a disk of its own needs root")

# E1: nothing is left.

FULL = """
import contextlib, pathlib, subprocess, tempfile
from eis.msgbus import keys

place = pathlib.Path(tempfile.mkdtemp(dir="/tmp", prefix="mb-"))
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
filler, pair = place / "filler", keys.new_key_pair()

def fill():
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

def refused(call):
    try:
        call()
    except mb.MessageBusError as error:
        return "No space left on device" in str(error)

def publish():
    with mb.MsgbusContext({"type": "zmq_ipc", "socket_dir": str(place / "full")}) as bus:
        bus.new_publisher("camera1").publish({})

outcomes = []
(place / "full").mkdir(0o750)
for number in range(config["attempts"]):
    fill()
    outcomes.append(refused(lambda: keys.write_pair(pair, place / "key")))
    outcomes.append(sorted(path.name for path in place.iterdir()) == ["filler", "full"])
    filler.unlink()
    keys.write_pair(pair, place / "key")
    outcomes.append(keys.read_pair(place / "key") == pair)
    for name in ("key.secret", "key.public"):
        (place / name).unlink()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "tmpfs", place / "full"], check=True)
    os.chmod(place / "full", 0o750)
    outcomes.append(refused(publish))
    subprocess.run(["umount", place / "full"], check=True)
    publish()
    outcomes.append(not list((place / "full").iterdir()))
subprocess.run(["umount", place], check=True)
place.rmdir()
print(outcomes.count(True), len(outcomes), flush=True)
"""


@is_root
def test_full_disk_is_an_error_that_says_so_and_leaves_nothing_behind(
    start: Start, effort: Effort, record: Record
) -> None:
    attempts = effort(3, 50)
    program = start(FULL, {"attempts": attempts}, before=("unshare", "-m"))
    told = f"{attempts * 5} {attempts * 5}"
    failures = [] if program.says(told, 50) else [program._lines, program.process.poll()]
    assert program.ends() == ""
    record("E1", "full disk", attempts=attempts * 5, failures=failures)


SCARCE = """
import contextlib, gc, resource
from eis.msgbus.transports.zmq import runtime

runtime.raise_limit = lambda: None

def used_up(opened):
    while True:
        try:
            opened()
        except mb.MessageBusError as error:
            return "open files" in str(error) or repr(error)

def contexts(stack):
    return lambda: stack.enter_context(mb.MsgbusContext(config["client"])).new_subscriber("camera1")

def subscribers(stack):
    bus = stack.enter_context(mb.MsgbusContext(config["client"]))
    return lambda: stack.enter_context(bus.new_subscriber("camera1"))

outcomes = []
for number in range(config["attempts"]):
    resource.setrlimit(resource.RLIMIT_NOFILE, (40 + number * 7 % 30, 4096))
    for kind in (contexts, subscribers):
        with contextlib.ExitStack() as stack:
            outcomes.append(used_up(kind(stack)))
        gc.collect()  # a descriptor that somebody could wait for is closed with its endpoint's last reference
        with mb.MsgbusContext(config["client"]) as bus:
            bus.new_subscriber("camera1")
print([outcome for outcome in outcomes if outcome is not True], flush=True)
"""


def test_lack_of_descriptors_is_an_error_and_the_program_goes_on(
    make_sides: Make, start: Start, effort: Effort, record: Record
) -> None:
    attempts = effort(6, 60)
    program = start(SCARCE, {"attempts": attempts, "client": make_sides("ipc").client})
    program.line("[]", 50)
    record("E1", "no descriptors", attempts=attempts * 2, failures=[])
    program.ends()


SHORT = """
import pathlib, resource

def used():
    return int(pathlib.Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0]) * 1024

with mb.MsgbusContext(config["client"]) as bus:
    subscriber = bus.new_subscriber("camera1")
    print("open", flush=True)
    subscriber.recv(20000)
    resource.setrlimit(resource.RLIMIT_AS, (used() + 30 * 2**20, resource.RLIM_INFINITY))
    print("short", flush=True)
    while True:
        try:
            if (metadata := subscriber.recv(20000).meta_data) is not None:
                print(metadata["n"], subscriber.stats.reconnects, flush=True)
        except MemoryError:
            print("no memory", flush=True)
"""


def test_frame_without_memory_for_it_is_lost_and_the_next_ones_come(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record
) -> None:
    config = make_sides("ipc").server | {"max_message_bytes": 200_000_000}
    publisher, attempts = opened(config).new_publisher("camera1"), effort(2, 40)
    program = start(SHORT, {"client": config})
    program.line("open")
    publisher.wait_for_subscribers(1, 10000)
    publisher.publish({})
    program.line("short")
    for number in range(attempts):
        publisher.publish(bytes(150_000_000))
        until(lambda number=number: comes(publisher, program, number))  # type: ignore[misc]
    record("E1", "no memory", attempts=attempts, failures=[])
    assert program.process.poll() is None


def comes(publisher: mb.Publisher, program: Program, number: int) -> bool:
    """Publish, and tell whether it arrives soon."""
    publisher.publish({"n": number})
    return program.says(f"{number} {number + 1}", 0.02)  # with so many connections lost


# E2: threads, signals, forks.


def test_messages_of_eight_threads_are_never_torn(
    make_sides: Make, opened: Open, effort: Effort, record: Record
) -> None:
    sides, many, threads = make_sides("ipc"), effort(2500, 125_000), 8
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(sides.client | {"zmq_recv_hwm": 0}).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    histories = {epoch: History() for epoch in range(threads)}
    received = [0]

    def publish(epoch: int) -> None:
        for number in range(many):
            publisher.publish(numbered(epoch, number))
            if number % 25 == 0:  # no queue runs over
                until(lambda: publisher.stats.sent - received[0] < 300, 60)

    stack = [running(lambda epoch=epoch: publish(epoch)) for epoch in histories]  # type: ignore[misc]
    for each in stack:
        each.__enter__()
    for _ in range(many * threads):
        envelope = subscriber.recv(20000)
        histories[envelope.meta_data["epoch"]].take(envelope)
        received[0] += 1
    for each in stack:
        each.__exit__(None, None, None)
    failures = [problem for history in histories.values() for problem in history.problems]
    failures += ["lost"] * sum(history.lost for history in histories.values())
    failures += ["malformed"] * subscriber.stats.malformed
    record("E2", "8 threads", attempts=many * threads, failures=failures)


ALARMED = """
from tests.reliability.history import History, numbered

rings, history, failures = [], History(), []
signal.signal(signal.SIGALRM, lambda *_: rings.append(1))
with mb.MsgbusContext(config["server"]) as server, mb.MsgbusContext(config["client"]) as client:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    service, requester = server.new_service("echo"), client.get_service("echo")
    publisher.wait_for_subscribers(1, 10000)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 1 / 700)
    for number in range(config["many"]):
        publisher.publish(numbered(1, number))
        history.take(subscriber.recv(10000))
        if number % 10 == 0:
            requester.request({"n": number})
            service.response(service.recv(10000))
            if requester.recv(10000).meta_data != {"n": number}:
                failures.append(number)
    signal.setitimer(signal.ITIMER_REAL, 0)
print(len(history.problems) + history.lost + len(failures), len(rings) > 10, flush=True)
"""


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_storm_of_signals_interrupts_nothing(
    make_sides: Make, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, many = make_sides(mode), effort(3000, 200_000)
    program = start(ALARMED, {"server": sides.server, "client": sides.client, "many": many})
    failures: list[Any] = [] if program.says("0 True", 600 if effort.torture else 40) else [program._lines]
    assert program.ends() == ""
    record("E2", f"700 signals a second, {mode}", attempts=many, failures=failures)


FORK = """
with mb.MsgbusContext(config["client"]) as bus:
    subscriber, requester = bus.new_subscriber("camera1"), bus.get_service("echo")
    last, outcomes = subscriber.recv(20000).meta_data["n"], []
    for _ in range(config["attempts"]):
        child = os.fork()
        if not child:
            refused = 0
            for call in (lambda: subscriber.recv(0), lambda: requester.request({}), lambda: bus.new_subscriber("x")):
                try:
                    call()
                except mb.NoMessage:
                    pass
                except mb.MessageBusError as error:
                    refused += "fork" in str(error)
            os._exit(refused)
        outcomes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3)
        while (number := subscriber.recv(20000).meta_data["n"]) <= last + 3:
            pass
        last = number
    print(outcomes.count(True), subscriber.stats.malformed, subscriber.stats.reconnects, flush=True)
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_child_of_a_fork_is_told_and_its_parent_goes_on(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record
) -> None:
    sides, history, attempts = make_sides("ipc"), History(), effort(10, 300)
    start(PUBLISH, {"bus": sides.server, "pause": 0.001})
    with opened(sides.client).new_subscriber("camera1") as subscriber, taking(subscriber, history):
        until(lambda: history.received)
        program = start(FORK, {"client": sides.client, "attempts": attempts})
        failures = [] if program.says(f"{attempts} 0 0", 50) else [program._lines]
    record("E2", "forks", attempts=attempts, failures=[*failures, *history.problems])
    program.ends()
