"""C, of requests, restarts and closing: lost replies, storms, and the end of a publisher."""

import contextlib
import signal
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from tests.reliability.conftest import Effort, Record
from tests.reliability.figures import milliseconds
from tests.reliability.history import History, numbered
from tests.reliability.processes import PUBLISH, kill
from tests.reliability.streams import Make
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import running, until

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


@pytest.mark.parametrize("how", ["forgotten", "SIGTERM"])
def test_program_that_does_not_close_ends_and_delivers(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, how: str
) -> None:
    sides, attempts, failures = make_sides("ipc"), effort(2, 30), []
    subscriber, history = opened(sides.client).new_subscriber("camera1"), History()
    for _ in range(attempts):
        program = start(FORGET if how == "forgotten" else FORGET + TERM, sides.server)
        for _ in range(900):
            history.take(subscriber.recv(20000))
        code, expected = program.process.wait(15), 0 if how == "forgotten" else -signal.SIGTERM
        failures += [code] if code != expected else []
    record("C10", how, attempts=attempts, failures=[*failures, *history.problems])


FORGET = """
from tests.reliability.history import numbered
bus = mb.MsgbusContext(config)
publisher = bus.new_publisher("camera1")
publisher.wait_for_subscribers(1, 15000)
for number in range(900):
    publisher.publish(numbered(os.getpid(), number))
"""
TERM = """
os.kill(os.getpid(), signal.SIGTERM)
threading.Event().wait()
"""
