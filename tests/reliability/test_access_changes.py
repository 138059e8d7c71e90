"""A, over time: access control that breaks, lists and keys that change, and files of keys that others could read."""

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.watchdog import Watchdog
from tests.reliability.conftest import Effort, Record
from tests.reliability.figures import milliseconds
from tests.reliability.strangers import WRONG, knock
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import SERVER, STRANGER, Sides, client_keys, until
from tests.transports.zmq.test_reload import NEW_SERVER, Reader, as_logger, changed, sides, streaming
from tests.transports.zmq.test_watchdog import FAILURES, Bus

__all__ = ["sides"]

Context = zmq.Context["zmq.Socket[bytes]"]


@pytest.fixture
def context() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.destroy(linger=0)


# A2: access control that does not work.


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("break_it", FAILURES[:-1])
def test_nobody_unlisted_gets_in_however_access_control_fails(
    make_sides: Callable[[str], Sides],
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    context: Context,
    effort: Effort,
    record: Record,
    break_it: Callable[[Bus], None],
) -> None:
    sides, attempts, failures = make_sides("allow"), effort(20, 500), []
    bus = Bus(sides, opened, monkeypatch)
    begun = time.time()
    break_it(bus)
    for number in range(attempts):
        with knock(context, sides.publisher, WRONG["unlisted"]) as attempt:
            failures += [number] if attempt.outcome()[0] or attempt.received() else []
    until(lambda: bus.publisher.status.state == "failed")
    told = bus.publisher.status.since - begun
    seen = f"told after {told * 1000:.0f} ms"
    monkeypatch.undo()
    bus.free.set()
    if break_it.__name__ != "end":  # that one is for good
        begun = time.monotonic()
        until(bus.works)
        seen += f", back after {(time.monotonic() - begun) * 1000:.0f} ms"
    record("A2", break_it.__name__.replace("_", " "), attempts=attempts, failures=failures, seen=seen)
    assert told < 5


def test_unlisted_client_gets_in_where_a_dead_access_control_is_not_enforced(
    make_sides: Callable[[str], Sides], opened: Open, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    """ZeroMQ by itself lets everybody in when nobody answers; here nobody watches it either."""
    sides = make_sides("allow")
    publisher = opened(sides.server).new_publisher("camera1")
    link: Link = publisher._channel._socket.link  # type: ignore[attr-defined]
    monkeypatch.setattr(Watchdog, "_act", lambda _: None)
    link._runtime.access.close()
    with knock(context, sides.publisher, WRONG["unlisted"]) as attempt:
        assert not attempt.outcome()[0]
    with link.lock:
        link.listening.end()
        link.socket.set(zmq.ZAP_ENFORCE_DOMAIN, 0)

    def is_free() -> bool:
        link.touch()
        return link.unbound.is_set()

    until(is_free)
    with link.lock:
        link.listening.begin()
    with knock(context, sides.publisher, WRONG["unlisted"]) as attempt:
        assert attempt.outcome()[0]


# A4, A5: other lists, other keys.


def test_removed_client_is_cut_and_the_other_goes_on(
    sides: Sides, opened: Open, effort: Effort, record: Record
) -> None:
    bus, attempts, failures, cuts, gaps = opened(sides.server), effort(3, 60), [], [], []
    publisher = bus.new_publisher("camera1")
    stays = Reader(opened(sides.client).new_subscriber("camera1"))
    goes = Reader(opened(as_logger(sides)).new_subscriber("camera1"))
    with streaming(publisher, stays, goes):
        for _ in range(attempts):
            refused, moment = goes.refused, time.monotonic()
            bus.reload(changed(sides.server, allowed_clients=["viewer"]))
            until(lambda refused=refused: goes.refused > refused)  # type: ignore[misc]
            until(lambda moment=moment: stays.since(moment + 1))  # type: ignore[misc]
            cuts.append(max(goes.since(moment), default=0.0))
            gaps.append(stays.gap(moment))
            failures += [f"cut after {cuts[-1]}"] if cuts[-1] > 1 else []
            moment = time.monotonic()
            bus.reload(sides.server)
            until(lambda moment=moment: goes.since(moment), 20)  # type: ignore[misc]
    failures += [] if stays.in_order() and goes.in_order() else ["out of order"]
    seen = f"cut after {milliseconds(cuts)}; the other had a gap of {milliseconds(gaps)}"
    record("A4", attempts=attempts, failures=failures, seen=seen)


def test_client_gets_in_by_itself_when_it_is_listed_later(
    sides: Sides, opened: Open, effort: Effort, record: Record
) -> None:
    bus, attempts, times = opened(sides.server), effort(2, 40), []
    publisher = bus.new_publisher("camera1")
    config = {**sides.client, "camera1": {**sides.client["camera1"], **client_keys(STRANGER)}}
    for _ in range(attempts):
        with mb.MsgbusContext(config) as client:
            late = client.new_subscriber("camera1")
            until(lambda late=late: late.status.state == "denied")  # type: ignore[misc]
            begun = time.monotonic()
            bus.reload(changed(sides.server, allowed_clients=["viewer", STRANGER.public]))
            until(lambda late=late: late.status.state == "connected", 20)  # type: ignore[misc]
            times.append(time.monotonic() - begun)
        bus.reload(sides.server)
    assert publisher.status.state == "listening"
    record("A5", "listed later", attempts=attempts, failures=[], seen=f"in after {milliseconds(times)}")


def test_key_of_the_server_is_changed_while_clients_know_both(
    sides: Sides, opened: Open, effort: Effort, record: Record
) -> None:
    both = changed(sides.client, "camera1", server_public_key=[SERVER.public, NEW_SERVER.public])
    bus, client, attempts, gaps = opened(sides.server), opened(both), effort(2, 40), []
    publisher, reader = bus.new_publisher("camera1"), Reader(client.new_subscriber("camera1"))
    pairs = itertools.cycle((NEW_SERVER, SERVER))
    with streaming(publisher, reader):
        for _ in range(attempts):
            moment, secret = time.monotonic(), next(pairs).secret
            config = changed(sides.server, "zmq_tcp_publish", server_secret_key=secret)
            bus.reload(changed(config, "echo", server_secret_key=secret))
            until(lambda: reader.subscriber.status.state != "connected")
            until(lambda: reader.subscriber.status.state == "connected", 20)
            until(lambda: reader.since(time.monotonic() - 0.01))
            gaps.append(reader.gap(moment))
    failures = [] if reader.in_order() else ["out of order"]
    record("A5", "server's key", attempts=attempts, failures=failures, seen=f"a gap of {milliseconds(gaps)}")


# A6: files of keys.


def with_mode(mode: int) -> Callable[[Path], object]:
    return lambda path: path.chmod(mode)


SPOILED: dict[str, Callable[[Path], object]] = {
    f"mode {mode:03o}": with_mode(mode) for mode in range(0o400, 0o700) if mode & 0o077
} | {
    "link": lambda path: path.symlink_to(path.rename(path.with_suffix(".x"))),
    "of another": lambda path: os.chown(path, 54321, -1),
    "short": lambda path: path.write_text(STRANGER.secret[:39]),
    "long": lambda path: path.write_text(STRANGER.secret + "x"),
    "two keys": lambda path: path.write_text(f"{STRANGER.secret}\n{STRANGER.secret}\n"),
    "other letters": lambda path: path.write_text(STRANGER.secret[:39] + "~"),
    "binary": lambda path: path.write_bytes(b"\xff" * 40),
    "empty": lambda path: path.write_text(""),
    "huge": lambda path: path.write_text(STRANGER.secret * 100_000),
    "missing": lambda path: path.unlink(),
    "pipe": lambda path: os.mkfifo(path.unlink() or path, 0o600),
    "directory": lambda path: (path.unlink() or path).mkdir(0o700),
}


def test_file_of_a_secret_is_refused_when_it_is_not_as_it_should_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, effort: Effort, record: Record
) -> None:
    caplog.set_level(logging.DEBUG)
    rounds, failures = effort(1, 50), []
    names = [name for name in SPOILED if name != "of another" or os.geteuid() == 0]
    for number, name in itertools.product(range(rounds), names):
        path = tmp_path / f"{number} {name}"
        keys.write_pair(STRANGER, path)
        secret = path.with_name(f"{path.name}.secret")
        SPOILED[name](secret)
        failures += accepted(name, secret)
    said = caplog.text
    failures += ["logged"] if STRANGER.secret in said else []
    record("A6", attempts=rounds * len(names), failures=failures)


def accepted(name: str, secret: Path) -> list[str]:
    """Try to use the file; return what went wrong."""
    entry = {"host": "127.0.0.1", "port": 3000, "server_secret_key": {"file": str(secret)}}
    config: dict[str, Any] = {"type": "zmq_tcp", "zmq_tcp_publish": entry}
    problems = []
    for use in (lambda: keys.read_secret(secret), lambda: mb.MsgbusContext(config).new_publisher("camera1")):
        try:
            use()
            problems.append(f"{name}: accepted")
        except mb.InvalidConfig as error:
            problems += [f"{name}: told"] if STRANGER.secret[:20] in f"{error} {error!r}" else []
    return problems
