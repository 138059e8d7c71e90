"""C: what breaks, and heals by itself: killed programs, broken networks, strangers, lost replies, storms."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus._channel import Closed
from tests.reliability.conftest import Effort, Record
from tests.reliability.figures import milliseconds
from tests.reliability.history import History, numbered
from tests.reliability.oracle import Good
from tests.reliability.processes import PUBLISH, descriptors, memory
from tests.reliability.proxy import Proxy, swallow
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import Program, Sides, running, tcp_sides, until
from tests.transports.zmq.test_hostile_connections import listener

MIB = 2**20
Make = Callable[[str], Sides]
Ports = Callable[[int], list[int]]


def kill(program: Program) -> None:
    program.process.kill()
    program.process.wait(10)


# C1, C2: killed programs.


@pytest.mark.parametrize("mode", ["ipc", "tcp", "allow"])
def test_subscriber_goes_on_when_its_publisher_is_killed_again_and_again(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, history, times = make_sides(mode), History(), []
    subscriber = opened(sides.client).new_subscriber("camera1")
    attempts = effort(3, 50)
    for _ in range(attempts):
        program = start(PUBLISH, {"bus": sides.server, "pause": 0.001})
        while history.take(envelope := subscriber.recv(20000))[0] != program.process.pid:
            pass
        times.append(time.monotonic() - envelope.meta_data["begun"])
        for _ in range(50):
            history.take(subscriber.recv(5000))
        kill(program)
    seen = f"resumes {milliseconds(times)} after the socket listens; {history.lost} lost in {history.received:,}"
    record("C1", mode, attempts=attempts, failures=history.problems, seen=seen)
    assert max(times) < 5


DIE = """
with mb.MsgbusContext(config) as bus:
    subscriber = bus.new_subscriber("camera1")
    subscriber.recv(20000)
    print("met", flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_publisher_and_others_do_not_notice_when_subscribers_are_killed(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, history, attempts = make_sides(mode), History(), effort(3, 50)
    publisher = start(PUBLISH, {"bus": sides.server, "pause": 0.002}).process.pid
    with opened(sides.client).new_subscriber("camera1") as subscriber, taking(subscriber, history):
        until(lambda: history.received)
        before = (descriptors(publisher), memory(publisher))
        for _ in range(attempts):
            doomed = start(DIE, sides.client)
            doomed.line("met")
            kill(doomed)
        until(lambda: descriptors(publisher) <= before[0])
        grown = (memory(publisher) - before[1]) / MIB
        until(lambda received=history.received: history.received > received)  # type: ignore[misc]
    failures = [*history.problems, *(["lost"] * history.lost)]
    record("C2", f"subscriber, {mode}", attempts=attempts, failures=failures, seen=f"descriptors +0, {grown:+.1f} MiB")
    assert grown < 5 + attempts / 10


@contextmanager
def taking(subscriber: mb.Subscriber[Any], history: History) -> Iterator[None]:
    """Take all messages in a thread, until the subscriber is closed."""

    def take() -> None:
        with contextlib.suppress(Closed):
            while True:
                with contextlib.suppress(mb.MessageBusAuthenticationFailed):  # it goes on trying
                    history.take(subscriber.recv())

    with running(take):
        try:
            yield
        finally:
            subscriber.close()


HANG = """
with mb.MsgbusContext(config) as bus:
    service = bus.new_service("echo")
    for request in service:
        if request.meta_data["n"] < 0:
            print("got it", flush=True)
        else:
            service.response(request)
"""


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_requester_is_told_and_goes_on_when_its_service_is_killed_again_and_again(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, failures, told, attempts = make_sides(mode), [], [], effort(2, 40)
    requester = opened(sides.client).get_service("echo")
    for number in range(attempts):
        program = start(HANG, sides.server)
        reply = requester.request({"n": number}, timeout=20000).meta_data
        failures += [] if reply == {"n": number} else [reply]
        requester.request({"n": -1})
        program.line("got it")
        kill(program)
        killed = time.monotonic()
        with pytest.raises(mb.Disconnected):
            requester.recv(10000)
        told.append(time.monotonic() - killed)
    record("C2", f"service, {mode}", attempts=attempts, failures=failures, seen=f"told {milliseconds(told)} later")


# C4: stopped programs.


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_publisher_that_is_stopped_is_stalled_and_connected_again_when_it_goes_on(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, history, times, attempts = make_sides(mode), History(), [], effort(2, 40)
    program = start(PUBLISH, {"bus": sides.server, "pause": 0.01})
    subscriber = opened(sides.client | {"stalled_after": 1000}).new_subscriber("camera1")
    with taking(subscriber, history):
        for _ in range(attempts):
            until(lambda: history.received and subscriber.status.state == "connected")
            program.process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            until(lambda: subscriber.status.state == "stalled")
            times.append(time.monotonic() - begun)
            program.process.send_signal(signal.SIGCONT)
    failures = [*history.problems, *(["lost"] * history.lost)]
    record("C4", mode, attempts=attempts, failures=failures, seen=f"stalled after {milliseconds(times)}")
    assert max(times) < 3


# C5: strangers on the port.

STRANGERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5,
    "garbage": b"\xff" * 200,
    "SSH": b"SSH-2.0-x\r\n",
    "hangs up": b"",
}


def test_subscriber_finds_its_publisher_after_strangers_had_the_port(
    free_ports: Ports, effort: Effort, record: Record
) -> None:
    times, attempts = [], effort(4, 60)
    for number in range(attempts):
        name = list(STRANGERS)[number % len(STRANGERS)]
        sides = tcp_sides(free_ports(2), "tcp")
        port = sides.server["zmq_tcp_publish"]["port"]
        with mb.MsgbusContext(sides.client) as client, mb.MsgbusContext(sides.server) as server:
            subscriber = client.new_subscriber("camera1")
            with listener(port, STRANGERS[name]) as seen:
                until(seen)
            publisher, begun = server.new_publisher("camera1"), time.monotonic()
            publisher.wait_for_subscribers(1, 20000)
            times.append(time.monotonic() - begun)
            publisher.publish({"n": number})
            assert past_refusals(subscriber) == {"n": number}
    record("C5", "strangers", attempts=attempts, failures=[], seen=f"back after {milliseconds(times)}")
    assert max(times) < 10


def past_refusals(subscriber: mb.Subscriber[Any]) -> object:
    with contextlib.suppress(mb.MessageBusAuthenticationFailed):
        return subscriber.recv(10000).meta_data
    return subscriber.recv(10000).meta_data


def test_subscriber_finds_its_publisher_after_one_without_keys_had_the_port(
    free_ports: Ports, effort: Effort, record: Record
) -> None:
    times, attempts = [], effort(2, 30)
    for number in range(attempts):
        ports = free_ports(2)
        sides = tcp_sides(ports, "allow")
        with mb.MsgbusContext(sides.client) as client, mb.MsgbusContext(sides.server) as server:
            subscriber = client.new_subscriber("camera1")
            with mb.MsgbusContext(tcp_sides(ports, "tcp").server) as impostor:
                false = impostor.new_publisher("camera1")
                until(lambda subscriber=subscriber: subscriber.status.state == "denied")  # type: ignore[misc]
                false.publish({"n": "false"})
            publisher, begun = server.new_publisher("camera1"), time.monotonic()
            publisher.wait_for_subscribers(1, 20000)
            times.append(time.monotonic() - begun)
            publisher.publish({"n": number})
            assert past_refusals(subscriber) == {"n": number}
    record("C5", "without keys", attempts=attempts, failures=[], seen=f"back after {milliseconds(times)}")
    assert max(times) < 10


def test_bare_socket_never_comes_back_after_a_stranger_had_the_port(tcp_port: int, raw: Raw, opened: Open) -> None:
    """It is what the supervisor is for; the bus's own subscriber waits beside it."""
    sides = tcp_sides([tcp_port, tcp_port], "tcp")
    subscriber = opened(sides.client).new_subscriber("camera1")
    with listener(tcp_port, STRANGERS["HTTP"]) as seen:
        bare = raw(zmq.SUB, connect=sides.publisher, subscribe=b"")
        until(lambda: seen() >= 2)
    publisher = opened(sides.server).new_publisher("camera1")
    publisher.wait_for_subscribers(1, 10000)
    with contextlib.suppress(mb.MessageBusAuthenticationFailed, mb.NoMessage):
        subscriber.recv(0)
    with Good(publisher, subscriber) as good:
        until(lambda: good.received >= 200)
        with pytest.raises(zmq.Again):
            bare.recv(zmq.NOBLOCK)


# C7: broken networks.


def flip(data: bytes) -> bytes:
    """Change one bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


Harm = Callable[[Proxy], None]
HARMS: dict[str, Harm] = {
    "reset": Proxy.reset,
    "half-closed": Proxy.half_close,
    "a bit flipped": lambda proxy: setattr(proxy, "to_client", flip),
    "half of the bytes lost": lambda proxy: setattr(proxy, "to_client", lambda data: data[: len(data) // 2]),
}


@contextmanager
def flowing(publisher: mb.Publisher) -> Iterator[None]:
    """Publish numbered messages all the time."""
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.wait(0.001):
            publisher.publish(numbered(1, number))
            number += 1

    with running(publish):
        try:
            yield
        finally:
            stop.set()


def resumes(publisher: mb.Publisher, history: History) -> None:
    """Wait until something arrives that is published from now on."""
    sent = publisher.stats.sent
    until(lambda: history.last >= sent)


@pytest.mark.parametrize("name", HARMS)
def test_connection_is_made_anew_and_nothing_wrong_arrives_when_the_network_breaks_it(
    make_sides: Make, proxy: Callable[[int], Proxy], opened: Open, effort: Effort, record: Record, name: str
) -> None:
    sides, history, times, attempts = make_sides("allow"), History(), [], effort(3, 60)
    between, config = proxied(sides, proxy)
    publisher, subscriber = opened(sides.server).new_publisher("camera1"), opened(config).new_subscriber("camera1")
    with flowing(publisher), taking(subscriber, history):
        for _ in range(attempts):
            until(lambda: history.received and subscriber.status.state == "connected")
            connections, begun = between.connections, time.monotonic()
            HARMS[name](between)
            until(lambda connections=connections: between.connections > connections)  # type: ignore[misc]
            between.to_client = bytes
            resumes(publisher, history)
            times.append(time.monotonic() - begun)
    seen = f"back after {milliseconds(times)}; {history.lost} lost of {history.received + history.lost:,}"
    record("C7", name, attempts=attempts, failures=history.problems, seen=seen)


def proxied(sides: Sides, proxy: Callable[[int], Proxy]) -> tuple[Proxy, dict[str, Any]]:
    """Return a proxy to the publisher, and the configuration of a client that goes through it."""
    between = proxy(sides.server["zmq_tcp_publish"]["port"])
    return between, {**sides.client, "camera1": {**sides.client["camera1"], "port": between.port}}


def test_silence_of_the_network_is_noticed_in_time(
    make_sides: Make, proxy: Callable[[int], Proxy], opened: Open, effort: Effort, record: Record
) -> None:
    sides, history, times, attempts = make_sides("allow"), History(), [], effort(3, 60)
    between, config = proxied(sides, proxy)
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(config | {"stalled_after": 300}).new_subscriber("camera1")
    with flowing(publisher), taking(subscriber, history):
        for _ in range(attempts):
            until(lambda: history.received and subscriber.status.state == "connected")
            between.to_client, begun = swallow, time.monotonic()
            until(lambda: subscriber.status.state == "stalled")
            times.append(time.monotonic() - begun)
            between.to_client = bytes
            between.reset()
            resumes(publisher, history)
    seen = f"stalled after {milliseconds(times)}, of 300 ms"
    record("C7", "black hole", attempts=attempts, failures=history.problems, seen=seen)
    assert max(times) < 5


def test_frame_arrives_in_its_own_time_over_a_slow_link(
    make_sides: Make, proxy: Callable[[int], Proxy], opened: Open, effort: Effort, record: Record
) -> None:
    sides, frame, frames = make_sides("allow"), os.urandom(6_220_800), effort(1, 5)
    between, config = proxied(sides, proxy)
    between.rate = 1_000_000 if effort.torture else 4_000_000
    publisher, subscriber = opened(sides.server).new_publisher("camera1"), opened(config).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    begun = time.monotonic()
    for _ in range(frames):
        publisher.publish(frame)
    failures = [number for number in range(frames) if subscriber.recv(60000).blob != frame]
    seconds = (time.monotonic() - begun) / frames
    seen = f"{seconds:.1f} s each, of {len(frame) / between.rate:.1f} s; {between.connections} connection"
    record("C7", f"6.2 MB at {between.rate / 1e6:g} MB/s", attempts=frames, failures=failures, seen=seen)
    assert between.connections == 1


# C8: replies.

HOW = {"well": 92, "never": 2, "with the next one": 2, "broken": 2, "restart": 2}
"""How a request is answered, and how often in a hundred."""


class Faulty:
    """Be a service that answers as it likes, and says how."""

    def __init__(self, address: str, effort: Effort) -> None:
        self.how: dict[int, str] = {}
        self.stop = threading.Event()
        self._address, self._effort = address, effort
        self._late: list[list[bytes]] = []

    def run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        router = self._bound(context)
        while not self.stop.is_set():
            if router.poll(20):
                frames = router.recv_multipart()
                number = int(frames[-1][5:-1])
                self.how[number] = how = self._effort.random.choices(list(HOW), list(HOW.values()))[0]
                self._answer(router, frames, how)
                if how == "restart":
                    router.close()
                    router = self._bound(context)
        router.close()
        context.destroy(linger=0)

    def _bound(self, context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
        router = context.socket(zmq.ROUTER)
        router.linger = 0
        until(lambda: self._binds(router))
        return router

    def _binds(self, router: "zmq.Socket[bytes]") -> bool:
        with contextlib.suppress(zmq.ZMQError):
            router.bind(self._address)
            return True
        return False

    def _answer(self, router: "zmq.Socket[bytes]", frames: list[bytes], how: str) -> None:
        late, self._late = self._late, [frames] if how == "with the next one" else []
        answers = {"well": frames, "broken": [*frames[:2], b"\xff"]}
        for answer in (*late, *([answers[how]] if how in answers else [])):
            router.send_multipart(answer)


@pytest.mark.parametrize("mode", ["ipc", "tcp"])
def test_reply_is_never_that_of_another_request(
    make_sides: Make, opened: Open, effort: Effort, record: Record, mode: str
) -> None:
    sides, attempts, answered = make_sides(mode), effort(250, 5000), 0
    failures: list[object] = []
    faulty = Faulty(sides.service, effort)
    requester = opened(sides.client).get_service("echo")
    with running(faulty.run):
        for number in range(attempts):
            try:
                reply = requester.request({"n": number}, timeout=50).meta_data
                answered += 1
                failures += [] if reply == {"n": number} else [(faulty.how.get(number), number, reply)]
            except (mb.ReceiveTimeout, mb.Disconnected, mb.InvalidMessage):
                failures += well_answered(requester, number, attempts)
        faulty.stop.set()
    seen = f"{answered:,} answered, the others told"
    record("C8", mode, attempts=attempts, failures=failures, seen=seen)
    assert answered > attempts / 2


def well_answered(requester: mb.Requester, number: int, more: int) -> list[object]:
    """Ask until there is an answer, and look at it."""

    def ask() -> object:
        with contextlib.suppress(mb.ReceiveTimeout, mb.Disconnected, mb.InvalidMessage):
            return requester.request({"n": number + more}, timeout=500).meta_data
        return None

    reply = until(ask)
    return [] if reply == {"n": number + more} else [(number, reply)]


# C9: a storm.


def test_all_subscribers_are_back_after_their_publisher_was_restarted(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record
) -> None:
    sides, times, cpu, storms, many = make_sides("allow"), [], [], effort(1, 10), 100
    bus = opened(sides.client)
    subscribers = [bus.new_subscriber("camera1") for _ in range(many)]
    for _ in range(storms + 1):
        program = start(PUBLISH, {"bus": sides.server, "pause": 0.01})
        program.line("listening")
        used = time.process_time()
        last = [first_of(subscriber, program.process.pid) for subscriber in subscribers]
        times.append(max(last))
        cpu.append(time.process_time() - used)
        kill(program)
    seen = f"all back after {milliseconds(times[1:])}; {max(cpu):.1f} s of CPU at most"
    record("C9", f"{many} subscribers", attempts=storms * many, failures=[], seen=seen)
    assert max(times) < 15


def first_of(subscriber: mb.Subscriber[Any], pid: int) -> float:
    """Take messages up to the first of a new publisher; return how long after its socket listened that was."""
    while (metadata := subscriber.recv(20000).meta_data)["epoch"] != pid:
        pass
    return float(time.monotonic() - metadata["begun"])


# C10: the end.


@pytest.mark.parametrize("mode", ["ipc", "tcp", "allow"])
def test_all_that_was_published_arrives_after_the_close_while_somebody_reads(
    make_sides: Make, effort: Effort, record: Record, mode: str
) -> None:
    sides, times, failures, attempts, many = make_sides(mode), [], [], effort(5, 100), 900
    for number in range(attempts):
        with mb.MsgbusContext(sides.client) as client:
            subscriber, history = client.new_subscriber("camera1"), History()
            with mb.MsgbusContext(sides.server) as server:
                publisher = server.new_publisher("camera1")
                publisher.wait_for_subscribers(1, 10000)
                for message in range(many):
                    publisher.publish(numbered(number, message))
                begun = time.monotonic()
            times.append(time.monotonic() - begun)
            for _ in range(many):
                history.take(subscriber.recv(5000))
            failures += history.problems
    record("C10", mode, attempts=attempts * many, failures=failures, seen=f"close takes {milliseconds(times)}")


def test_close_takes_its_time_limit_while_nobody_reads(
    make_sides: Make, raw: Raw, effort: Effort, record: Record
) -> None:
    sides, times, attempts = make_sides("tcp"), [], effort(1, 15)
    for _ in range(attempts):
        with mb.MsgbusContext(sides.server) as server, ExitStack() as stack:
            publisher = server.new_publisher("camera1")
            stuck = stack.enter_context(raw(zmq.SUB, connect=sides.publisher, subscribe=b"", rcvhwm=1, rcvbuf=4096))
            publisher.wait_for_subscribers(1, 10000)
            for _ in range(100):
                publisher.publish(bytes(200_000))
            begun = time.monotonic()
            server.close()
            times.append(time.monotonic() - begun)
            assert stuck.poll(0)
    record("C10", "nobody reads", attempts=attempts, failures=[], seen=f"close takes {milliseconds(times)}")
    assert max(times) < 2 + 0.5 + 3


def test_program_that_forgets_to_close_ends_and_delivers(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record
) -> None:
    sides, attempts, failures = make_sides("ipc"), effort(2, 30), []
    subscriber, history = opened(sides.client).new_subscriber("camera1"), History()
    for _ in range(attempts):
        program = start(FORGET, sides.server)
        for _ in range(500):
            history.take(subscriber.recv(20000))
        if said := program.ends():
            failures.append(said)
    record("C10", "forgotten", attempts=attempts, failures=[*failures, *history.problems])


FORGET = """
from tests.reliability.history import numbered
bus = mb.MsgbusContext(config)
publisher = bus.new_publisher("camera1")
publisher.wait_for_subscribers(1, 15000)
for number in range(500):
    publisher.publish(numbered(os.getpid(), number))
"""
