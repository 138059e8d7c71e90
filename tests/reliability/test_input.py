"""D: what strangers and careless hands send: frames, handshakes, floods, configurations. It harms nobody."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from zmq.utils.monitor import recv_monitor_message

import eis.msgbus as mb
from eis.msgbus._wire import decode
from tests.reliability.conftest import Effort, Record
from tests.reliability.figures import milliseconds
from tests.reliability.history import History
from tests.reliability.mutations import changed_bytes, changed_config, changed_frames
from tests.reliability.processes import PUBLISH, descriptors, memory, peak
from tests.reliability.proxy import Proxy
from tests.reliability.strangers import curve
from tests.reliability.streams import proxied, taking
from tests.test_config import _means_something
from tests.test_wire import _hostile, _nearly_sound
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import CLIENT, SERVER, Program, Sides, client_keys, serving, until
from tests.transports.zmq.test_hostile_messages import BROKEN
from tests.transports.zmq.test_hostile_sizes import pour

MIB = 2**20
Make = Callable[[str], Sides]
SOUND = [
    [b"camera1\0", b"\0", b"\1", b'{"n":1,"text":"abc","list":[1,2.5,null]}'],
    [b"camera1\0", b"\0", b"\3", b'{"n":1}', b"blob" * 100, b""],
    [b"camera1\0", b"\1", b"\1", b"blob"],
]


def good(number: int) -> list[bytes]:
    return [b"camera1\0", b"\0", b"\1", b'{"good":%d}' % number]


# D1: frames.


def test_any_frames_are_decoded_or_refused(effort: Effort, record: Record) -> None:
    attempts, refused = effort(10_000, 200_000), 0
    failures: list[object] = []
    for _ in range(attempts):
        frames = changed_frames(effort.random.choice(SOUND), effort.random)
        try:
            decode(frames)
        except mb.InvalidMessage:
            refused += 1
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            failures.append((frames, error))
    record("D1", "decoding", attempts=attempts, failures=failures, seen=f"{refused:,} refused, the others decoded")


def test_any_frames_that_hypothesis_finds_are_decoded_or_refused(effort: Effort, record: Record) -> None:
    attempts = effort(50, 20_000)

    @settings(max_examples=attempts, suppress_health_check=list(HealthCheck), database=None)
    @given(_hostile | _nearly_sound)
    def read(frames: Any) -> None:
        with contextlib.suppress(mb.InvalidMessage):
            decode(list(frames))

    read()
    record("D1", "decoding, hypothesis", attempts=attempts, failures=[])


@pytest.mark.parametrize("mode", ["ipc", "tcp"])
def test_subscriber_takes_every_good_message_between_broken_ones(
    make_sides: Make, opened: Open, raw: Raw, effort: Effort, record: Record, mode: str
) -> None:
    sides, attempts, failures, batch = make_sides(mode), effort(10_000, 100_000), [], 50
    publisher = raw(zmq.XPUB, bind=sides.publisher)
    subscriber = opened(sides.client).new_subscriber("")
    assert publisher.recv() == b"\1"
    for number in range(attempts // batch):
        for _ in range(batch):
            publisher.send_multipart(bad(effort))
        publisher.send_multipart(good(number))
        if (metadata := last_good(subscriber)) != {"good": number}:
            failures.append(metadata)
    seen = f"{subscriber.stats.malformed:,} refused, {attempts // batch:,} good ones in between all came"
    record("D1", f"subscriber, {mode}", attempts=attempts // batch * batch, failures=failures, seen=seen)


def bad(effort: Effort) -> list[bytes]:
    """Return a message that is probably broken."""
    known = [frames for name, frames in BROKEN.items() if name not in ("long-count", "deep-json", "many-frames")]
    return changed_frames(effort.random.choice(SOUND + known), effort.random)


def last_good(subscriber: mb.Subscriber[Any]) -> object:
    """Take messages up to the next good one."""
    while "good" not in ((metadata := subscriber.recv(10000).meta_data) or {}):
        pass
    return metadata


@pytest.mark.parametrize("mode", ["ipc", "tcp"])
def test_service_answers_every_good_request_between_broken_ones(
    make_sides: Make, opened: Open, raw: Raw, effort: Effort, record: Record, mode: str
) -> None:
    sides, attempts, failures, batch = make_sides(mode), effort(2000, 50_000), [], 50
    dealer = raw(zmq.DEALER, connect=sides.service)
    requester = opened(sides.client).get_service("echo")
    with opened(sides.server).new_service("echo") as service, serving(service):
        for number in range(attempts // batch):
            for _ in range(batch):
                dealer.send_multipart([*effort.random.choice(([], [b""], [b""], [b""])), *bad(effort)])
            dealer.send_multipart([b"", *good(number)])
            reply = requester.request({"good": number}, timeout=10000).meta_data
            failures += [] if reply == {"good": number} else [reply]
            while dealer.recv_multipart()[-1] != good(number)[-1]:  # so the service has seen all
                pass
        malformed = service.stats.malformed
    seen = f"{malformed:,} refused; a good client was answered {attempts // batch:,} times"
    record("D1", f"service, {mode}", attempts=attempts // batch * batch, failures=failures, seen=seen)


# D2, D4: connections.


@contextmanager
def attacked(sides: Sides, opened: Open, start: Start) -> Iterator[tuple[Program, History]]:
    """Be a program that publishes, and a good client that must not notice what happens meanwhile."""
    program, history = start(PUBLISH, {"bus": sides.server, "pause": 0.005}), History()
    subscriber = opened(sides.client).new_subscriber("camera1")
    with taking(subscriber, history):
        until(lambda: history.received >= 10)
        yield program, history
        until(lambda received=history.received: history.received > received + 5)  # type: ignore[misc]
        stats = subscriber.stats
    assert (history.problems, history.lost, stats.reconnects, stats.refused) == ([], 0, 0, 0)


def recorded_handshake(sides: Sides, proxy: Callable[[int], Proxy]) -> bytes:
    """Return what a listed client says to get in."""
    between, config = proxied(sides, proxy)
    said: list[bytes] = []

    def keep(data: bytes) -> bytes:
        said.append(data)
        return data

    between.to_server = keep
    with mb.MsgbusContext(config) as bus:
        subscriber = bus.new_subscriber("camera1")
        until(lambda: subscriber.status.state == "connected")
    return b"".join(said)


def test_broken_handshakes_harm_nobody(
    make_sides: Make, proxy: Callable[[int], Proxy], opened: Open, start: Start, effort: Effort, record: Record
) -> None:
    sides, attempts = make_sides("allow"), effort(3000, 100_000)
    port = sides.server["zmq_tcp_publish"]["port"]
    with attacked(sides, opened, start) as (program, _):
        sound = recorded_handshake(sides, proxy)
        assert len(sound) > 400
        say_broken(port, sound, effort, 200)  # warm up
        before = (memory(program.process.pid), descriptors(program.process.pid))
        begun = time.monotonic()
        say_broken(port, sound, effort, attempts)
        rate = attempts / (time.monotonic() - begun)
        until(lambda: descriptors(program.process.pid) <= before[1] + 2)
        grown = (memory(program.process.pid) - before[0]) / MIB
    record("D2", attempts=attempts, failures=[], seen=f"{rate:,.0f} a second; memory {grown:+.1f} MiB")
    assert grown < 20 + attempts / 10_000


def say_broken(port: int, sound: bytes, effort: Effort, attempts: int) -> None:
    """Say broken handshakes, and hang up at some moment; from many addresses, since a port rests after each use."""
    for number in range(attempts):
        with socket.socket() as peer, contextlib.suppress(ConnectionError, TimeoutError):
            peer.settimeout(5)
            peer.bind((f"127.0.{number // 20_000 + 1}.1", 0))
            peer.connect(("127.0.0.1", port))
            peer.sendall(changed_bytes(sound, effort.random))
            if effort.random.random() < 0.5:
                peer.recv(100)


def test_300_mb_from_strangers_take_no_memory(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record
) -> None:
    sides, attempts, failures = make_sides("allow"), effort(2, 50), []
    with attacked(sides, opened, start) as (program, _):
        before = peak(program.process.pid)
        for number in range(attempts):
            with socket.create_connection(("127.0.0.1", sides.server["zmq_tcp_publish"]["port"]), 5) as stranger:
                failures += [number] if pour(stranger, server=False) >= 300 * MIB else []
        grown = (peak(program.process.pid) - before) / MIB
    record("D4", "a command of 300 MB", attempts=attempts, failures=failures, seen=f"memory {grown:+.1f} MiB")
    assert grown < 30


def test_300_mb_take_memory_where_nothing_limits_them(make_sides: Make, start: Start) -> None:
    """The same attack on a publisher without a limit of sizes."""
    sides = make_sides("allow")
    program = start(UNLIMITED, sides.server)
    program.line("open")
    before = peak(program.process.pid)
    with socket.create_connection(("127.0.0.1", sides.server["zmq_tcp_publish"]["port"]), 5) as stranger:
        assert pour(stranger, server=False) >= 300 * MIB
        until(lambda: peak(program.process.pid) - before > 100 * MIB)


UNLIMITED = """
from eis.msgbus.transports.zmq import plan
plan._SUBSCRIPTION = 2**60
with mb.MsgbusContext(config) as bus:
    publisher = bus.new_publisher("camera1")
    print("open", flush=True)
    threading.Event().wait()
"""


def test_idle_connections_are_closed_in_time(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record
) -> None:
    sides, many, times = make_sides("allow"), effort(300, 1000), []
    with attacked(sides, opened, start) as (program, _), ExitStack() as stack:
        pid, address = program.process.pid, ("127.0.0.1", sides.server["zmq_tcp_publish"]["port"])
        before = (descriptors(pid), memory(pid))
        for _ in range(many):
            stack.enter_context(socket.create_connection(address, 10))
        begun, most = time.monotonic(), descriptors(pid)
        until(lambda: descriptors(pid) <= before[0], 15)
        times.append(time.monotonic() - begun)
        grown = (memory(pid) - before[1]) / MIB
    seen = f"{most - before[0]} held at once, all closed {milliseconds(times)} after the last; memory {grown:+.1f} MiB"
    record("D4", "idle connections", attempts=many, failures=[], seen=seen)
    assert times[0] < 3 + 1 + 3
    assert grown < 30


def test_flood_of_subscriptions_of_a_listed_client_is_cut_off_again_and_again(
    make_sides: Make, opened: Open, start: Start, raw: Raw, effort: Effort, record: Record
) -> None:
    sides, many = make_sides("allow"), effort(5000, 100_000)
    with attacked(sides, opened, start) as (program, _):
        before = memory(program.process.pid)
        flood = raw(zmq.XSUB, **curve(), sndhwm=0)
        cut = flood.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        flood.connect(sides.publisher)
        for _ in range(many):
            flood.send(b"\1" + effort.random.randbytes(20))
        for _ in range(3):  # it comes back with all of them, as long as its socket is touched
            until(lambda: flood.get(zmq.EVENTS) and cut.poll(20), 20)
            recv_monitor_message(cut)
        grown = (memory(program.process.pid) - before) / MIB
        flood.disable_monitor()
        cut.close()
    record("D4", "subscriptions of 20 bytes", attempts=many, failures=[], seen=f"cut off; memory {grown:+.1f} MiB")
    assert grown < 30


# D3: configurations.

KEYS = {"server_secret_key": SERVER.secret}
CONFIGS: list[dict[str, Any]] = [
    {
        "type": "zmq_tcp",
        "zmq_tcp_publish": {
            "host": "127.0.0.1",
            "port": 3000,
            **KEYS,
            "allowed_clients": ["viewer"],
            "topics": {"camera1": ["viewer"], "": [CLIENT.public]},
        },
        "camera1": {"host": "127.0.0.1", "port": 3000, **client_keys()},
        "echo": {"host": "*", "port": 3001, **KEYS, "allowed_clients": [CLIENT.public]},
        "clients": {"viewer": CLIENT.public},
        "allowed_clients": ["viewer"],
        "zmq_recv_hwm": 50,
        "zmq_connect_retries": 5,
        "queue_bytes": 10**8,
        "max_message_bytes": 10**6,
        "stalled_after": 1000,
    },
    {
        "type": "zmq_ipc",
        "socket_dir": "/tmp/bus",  # noqa: S108  # nothing is opened
        "": {"socket_file": "all", "brokered": False, "allowed_users": ["root", 0]},
        "camera1": {"socket_file": "one", "allowed_groups": [0]},
        "socket_group": "root",
        "shared_directory": True,
        "allow_open_directory": False,
    },
    {"type": "memory", "hub": "x"},
]
SECRETS = (SERVER.secret, CLIENT.secret)


def test_any_configuration_is_one_or_an_invalid_config_that_says_no_secret(effort: Effort, record: Record) -> None:
    attempts, failures, refused = effort(10_000, 100_000), [], 0
    for _ in range(attempts):
        config = changed_config(effort.random.choice(CONFIGS), effort.random)
        try:
            said = _means_something(config)
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            failures.append((config, repr(error)))
        else:
            refused += said.startswith("config")
            failures += [(config, "a secret")] if any(secret in said for secret in SECRETS) else []
    record("D3", attempts=attempts, failures=failures, seen=f"{refused:,} refused as a whole")
