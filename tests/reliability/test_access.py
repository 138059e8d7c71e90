"""A: who gets in. Nobody else does, whatever they try, and those who are listed notice nothing of them."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from tests.reliability.conftest import Effort, Record
from tests.reliability.figures import milliseconds
from tests.reliability.oracle import Good
from tests.reliability.proxy import Proxy
from tests.reliability.strangers import GREETINGS, WRONG, curve, knock, shout
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import CLIENT, SERVER, STRANGER, Sides, client_keys, until

MARKER = b"the payload that nobody else may see"
"""What is published; it is looked for in everything that strangers hear."""

AS_CONFIG: dict[str, dict[str, str]] = {
    "unlisted": client_keys(STRANGER),
    "no keys": {},
    "another server's key": client_keys(server=STRANGER.public),
}


@pytest.fixture
def sides(make_sides: Callable[[str], Sides]) -> Sides:
    return make_sides("allow")


@pytest.fixture
def publisher(sides: Sides, opened: Open) -> mb.Publisher:
    return opened(sides.server).new_publisher("camera1")


@pytest.fixture
def good(sides: Sides, opened: Open, publisher: mb.Publisher) -> Iterator[Good]:
    """A listed subscriber, to whom something is published all the time."""
    with Good(publisher, opened(sides.client).new_subscriber("camera1"), MARKER) as good:
        yield good


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def port(sides: Sides) -> int:
    return int(sides.publisher.rpartition(":")[2])


def test_nobody_gets_in_with_wrong_keys(
    sides: Sides, context: "zmq.Context[zmq.Socket[bytes]]", good: Good, effort: Effort, record: Record
) -> None:
    names, times, failures = list(WRONG), [], []
    attempts = effort(900, 18_000)
    for start in range(0, attempts, 30):
        with ExitStack() as stack:
            some = [effort.random.choice(names) for _ in range(min(30, attempts - start))]
            knocking = [stack.enter_context(knock(context, sides.publisher, WRONG[name])) for name in some]
            for name, attempt in zip(some, knocking, strict=True):
                let_in, seconds = attempt.outcome()
                times.append(seconds)
                if let_in or attempt.received():
                    failures.append(name)
    good.has_missed_nothing()
    record("A1", "wrong keys", attempts=attempts, failures=failures, seen=f"refused after {milliseconds(times)}")


def test_nobody_gets_in_without_the_handshake(sides: Sides, good: Good, effort: Effort, record: Record) -> None:
    names, times, failures = list(GREETINGS), [], []
    attempts = effort(100, 2000)
    for _ in range(attempts):
        name = effort.random.choice(names)
        heard, seconds = shout(port(sides), GREETINGS[name])
        good.wait_for_one_more()
        times.append(seconds)
        if MARKER in heard or b"camera1" in heard:
            failures.append((name, heard))
    good.has_missed_nothing()
    record("A1", "no handshake", attempts=attempts, failures=failures, seen=f"cut after {milliseconds(times)}")


@pytest.mark.parametrize("name", ["unlisted", "no keys", "another server's key"])
def test_refused_program_is_told_why_within_a_second(
    sides: Sides, opened: Open, good: Good, effort: Effort, record: Record, name: str
) -> None:
    entry = {"host": "127.0.0.1", "port": port(sides), **AS_CONFIG[name]}
    wrong, times, attempts = opened({"type": "zmq_tcp", "camera1": entry}), [], effort(3, 60)
    failures: list[object] = []
    for _ in range(attempts):
        begun = time.monotonic()
        with wrong.new_subscriber("camera1") as subscriber:
            until(lambda subscriber=subscriber: subscriber.status.state == "denied")  # type: ignore[misc]
            times.append(time.monotonic() - begun)
            failures += [subscriber.stats] if subscriber.stats.received else []
    good.has_missed_nothing()
    record("A1", f"{name}, told", attempts=attempts, failures=failures, seen=f"told after {milliseconds(times)}")


# With a protection taken away the same attempts succeed.


def test_unlisted_client_gets_in_where_there_is_no_list(
    make_sides: Callable[[str], Sides], opened: Open, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    sides = make_sides("curve")
    publisher = opened(sides.server).new_publisher("camera1")
    with knock(context, sides.publisher, WRONG["unlisted"]) as attempt:
        assert attempt.outcome()[0]
        publisher.wait_for_subscribers(1, 5000)
        publisher.publish(MARKER)
        until(attempt.received)


def test_greeting_without_keys_is_served_where_there_are_none(make_sides: Callable[[str], Sides], opened: Open) -> None:
    sides = make_sides("tcp")
    publisher = opened(sides.server).new_publisher("camera1")
    with Good(publisher, opened(sides.client).new_subscriber("camera1"), MARKER):
        heard, _ = shout(port(sides), GREETINGS["NULL"], enough=MARKER)
    assert MARKER in heard


# Who gets in where.

PAIRS = {CLIENT.public: curve(), STRANGER.public: curve(STRANGER.public, STRANGER.secret)}


def test_each_client_gets_in_at_its_own_publisher_and_service_only(
    free_ports: Callable[[int], list[int]],
    opened: Open,
    context: "zmq.Context[zmq.Socket[bytes]]",
    effort: Effort,
    record: Record,
) -> None:
    ports = free_ports(4)
    doors = [(zmq.SUB, ports[0]), (zmq.SUB, ports[1]), (zmq.REQ, ports[2]), (zmq.REQ, ports[3])]
    listed = dict(zip(ports, [*PAIRS, *PAIRS], strict=True))
    serving: list[object] = [
        opened(listening(zmq_tcp_publish=(at, listed[at]))).new_publisher("camera1") for at in ports[:2]
    ]
    services = opened(listening(echo=(ports[2], listed[ports[2]]), other=(ports[3], listed[ports[3]])))
    serving += [services.new_service("echo"), services.new_service("other")]
    attempts, failures = effort(200, 8000), []
    for (kind, at), public in itertools.islice(itertools.cycle(itertools.product(doors, PAIRS)), attempts):
        with knock(context, f"tcp://127.0.0.1:{at}", PAIRS[public], kind) as attempt:
            if attempt.outcome()[0] != (listed[at] == public):
                failures.append((at, public))
    record("A3", attempts=attempts, failures=failures)


def listening(**places: tuple[int, str]) -> dict[str, Any]:
    """Return a configuration with a port and a list of one client for each name."""
    entries = {
        name: {"host": "127.0.0.1", "port": at, "server_secret_key": SERVER.secret, "allowed_clients": [public]}
        for name, (at, public) in places.items()
    }
    return {"type": "zmq_tcp", **entries}


# Who reads along.


@pytest.mark.parametrize("mode", ["tcp", "allow"])
def test_payload_is_never_on_the_wire_where_there_are_keys(
    make_sides: Callable[[str], Sides],
    proxy: Callable[[int], Proxy],
    opened: Open,
    effort: Effort,
    record: Record,
    mode: str,
) -> None:
    sides = make_sides(mode)
    between, messages = proxy(port(sides)), effort(300, 20_000)
    recorded: list[bytes] = []
    between.record = recorded.append
    publisher = opened(sides.server).new_publisher("camera1")
    client = {**sides.client, "camera1": {**sides.client["camera1"], "port": between.port}}
    with mb.MsgbusContext(client) as bus, Good(publisher, bus.new_subscriber("camera1"), MARKER) as good:
        until(lambda: good.received >= messages, 600)
        good.has_missed_nothing()
    wire = b"".join(recorded)
    hits, seen = wire.count(MARKER), f"of {len(wire):,} bytes on the wire"
    if mode == "tcp":
        assert hits >= messages / 2  # the control: two pieces may divide the one or other
        return
    record("A7", attempts=good.received, failures=[hits] if hits else [], seen=seen)
