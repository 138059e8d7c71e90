"""F: everything at once, for longer."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from eis.msgbus.transports.zmq import watch
from tests.reliability.conftest import Effort, Record
from tests.reliability.model import Model
from tests.reliability.proxy import Proxy
from tests.reliability.soak import LEND, Driver, Sample, growth, samples
from tests.transports.zmq.conftest import Start
from tests.transports.zmq.helpers import Sides, ipc_sides, until

MIB = 2**20


def test_programs_go_on_while_others_are_killed_stopped_and_cut_off(
    make_sides: Callable[[str], Sides],
    socket_dir: Path,
    proxy: Callable[[int], Proxy],
    start: Start,
    effort: Effort,
    record: Record,
) -> None:
    sides = {"ipc": make_sides("ipc"), "tcp": make_sides("allow"), "frames": frames_sides(socket_dir)}
    between = proxy(sides["tcp"].server["zmq_tcp_publish"]["port"])
    driver = Driver(start, between, sides, effort.random)
    until(lambda: flows(driver))
    driver.drive(effort(15, 480), (1.0, 3.0) if effort.torture else (0.3, 0.9))
    until(lambda: flows(driver), 30)
    driver.end()
    taken = samples(driver.watcher)
    counts = taken[-1]["counts"]
    received = {name: counts[name][0] for name in counts}
    small, lost = received["ipc"] + received["tcp"], sum(counts[name][1] for name in counts)
    grown = {name: growth(taken, name) for name in ("memory", "descriptors", "threads")}
    seen = (
        f"{small:,} small messages, {received['frames']:,} frames of 6.2 MB; {lost:,} lost and counted; "
        f"{sum(driver.done.values())} faults; memory {grown['memory'] / MIB:+.1f} MiB, "
        f"descriptors {grown['descriptors']:+.0f}, threads {grown['threads']:+.0f}"
    )
    record("F1", attempts=small + received["frames"], failures=taken[-1]["problems"], seen=seen)
    assert grown["memory"] < (20 + small / 10**6) * MIB
    assert abs(grown["descriptors"]) <= 4
    assert grown["threads"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="frames are shared on Linux")
def test_nothing_grows_while_frames_are_lent_and_received_in_place(
    socket_dir: Path, start: Start, effort: Effort, record: Record
) -> None:
    count = effort(5_000, 1_000_000)
    program = start(LEND, {"bus": ipc_sides(socket_dir).server, "bytes": 100_000, "frames": count})
    until(lambda: len(samples(program)) == 4 or program.process.poll(), 1000 if effort.torture else 50)
    assert program.ends() == ""
    warm, *taken = samples(program)
    grown = {name: taken[-1][name] - warm[name] for name in ("memory", "descriptors", "shared")}
    seen = (
        f"frames of 100 kB; memory {grown['memory'] / MIB:+.1f} MiB, descriptors {grown['descriptors']:+}, "
        f"shared memory {grown['shared'] / MIB:+.1f} MiB of {warm['shared'] / MIB:.1f}"
    )
    failures = [each for each in taken if (each["lost"], each["unshared"], each["form"]) != (0, 0, "shared")]
    record("F1", "frames lent", attempts=count, failures=failures, seen=seen)
    assert (grown["descriptors"], grown["shared"]) == (0, 0)
    assert grown["memory"] < 2 * MIB


def frames_sides(directory: Path) -> Sides:
    """Return the sides of the publisher of frames, with little room for what waits."""
    sides = ipc_sides(directory)
    config = {**sides.server, "": {"socket_file": "frames"}, "zmq_recv_hwm": 4}
    return Sides(config, config, "", "")


def flows(driver: Driver) -> bool:
    """Tell whether messages of every publisher of now come."""
    taken = [sample for sample in samples(driver.watcher)[-4:] if len(sample["counts"]) == 3]
    return len(taken) == 4 and all(more(taken, name) for name in driver.publishers)


def more(taken: list[Sample], name: str) -> bool:
    return bool(taken[-1]["counts"][name][0] > taken[0]["counts"][name][0])


@pytest.mark.timeout(900)
def test_model_of_a_publisher_and_its_clients_holds_whatever_happens(
    tcp_port: int, effort: Effort, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("FIRST_PAUSE", "LONGEST_PAUSE", "LONGEST_WAIT"):
        monkeypatch.setattr(watch, pause, 0.1)  # or else most of the time nothing would happen

    class OnePort(Model):
        port = tcp_port
        exactly: ClassVar[Counter[bool]] = Counter()

    runs = effort(6, 200)
    once = settings(
        max_examples=runs,
        stateful_step_count=40,
        phases=[Phase.generate],  # what depends on time has no smaller example
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(seed(effort.random.randrange(2**32))(OnePort), settings=once)
    exactly, losses = OnePort.exactly[True], OnePort.exactly.total()
    seen = f"steps in {runs} runs; {OnePort.lost:,} lost, all seen; with one client {exactly} of {losses} times exactly"
    record("F2", attempts=OnePort.steps, failures=[], seen=seen)


def test_losses_of_one_client_are_counted_whatever_it_missed(tcp_port: int, effort: Effort, record: Record) -> None:
    """The model again, with steps that make losses while one client is listed: by chance there were none."""

    class OnePort(Model):
        port = tcp_port
        exactly: ClassVar[Counter[bool]] = Counter()

    machine, attempts = OnePort(), effort(2, 30)
    try:
        machine.meet()
        machine.change_list("logger")
        for number in range(attempts):
            machine.end(killed=number % 2 == 1)
            machine.start()
            machine.flood()
            machine.settle()
            machine.nobody_gets_what_is_not_for_him()
    finally:
        machine.teardown()
    exactly, losses = OnePort.exactly[True], OnePort.exactly.total()
    seen = f"{OnePort.lost:,} lost, {exactly} of {losses} times counted exactly"
    record("F2", "one client", attempts=attempts, failures=[], seen=seen)
    assert losses == attempts
