"""Programs that run while others are killed, stopped and cut off at random, and the driver that does it."""

import contextlib
import json
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.reliability.processes import PUBLISH, kill
from tests.reliability.proxy import Proxy, swallow
from tests.transports.zmq.conftest import Start
from tests.transports.zmq.helpers import Program, Sides

__all__ = ["LEND", "Driver", "Sample", "growth", "samples"]

Sample = dict[str, Any]

WATCH = """
import contextlib, time
from eis.msgbus._channel import Closed
from tests.reliability.history import History
from tests.reliability.processes import descriptors, memory, threads

histories = {name: History() for name in config}
stop = threading.Event()

def take(subscriber, history):
    with contextlib.suppress(Closed):
        while True:
            try:
                history.take(subscriber.recv())
            except mb.MessageBusAuthenticationFailed:
                pass

def sample():
    me = os.getpid()
    counts = {name: [one.received, one.lost, one.late, one.epochs] for name, one in histories.items()}
    problems = [problem for one in histories.values() for problem in one.problems[:5]]
    facts = {"memory": memory(me), "descriptors": descriptors(me), "threads": threads(me)}
    print(json.dumps(facts | {"counts": counts, "problems": problems}), flush=True)

with contextlib.ExitStack() as stack:
    for name, bus in config.items():
        subscriber = stack.enter_context(stack.enter_context(mb.MsgbusContext(bus)).new_subscriber("camera1"))
        threading.Thread(target=take, args=(subscriber, histories[name])).start()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
    while not stop.wait(0.5):
        sample()
"""
"""Take the messages of every publisher, and say twice a second what came and what this process uses."""

READ = """
with mb.MsgbusContext(config) as bus:
    subscriber = bus.new_subscriber("camera1")
    while True:
        try:
            subscriber.recv()
        except mb.MessageBusAuthenticationFailed:
            pass
"""

LEND = """
from pathlib import Path
from tests.reliability.processes import descriptors, memory

def shared():
    "Return how many bytes of shared memory this process has mapped."
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in lines if "memfd:" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in ranges)

def lend(count):
    for number in range(count):
        frame = publisher.loan(config["bytes"])
        frame.view[:4] = number.to_bytes(4, "little")
        publisher.publish(({"n": number}, frame))
        del frame
        envelope = subscriber.recv(10000)
        assert (envelope.meta_data["n"], bytes(envelope.view[:4])) == (number, number.to_bytes(4, "little"))
        del envelope

with mb.MsgbusContext(config["bus"]) as bus:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    while subscriber.stats.form != "shared":
        lend(1)
    for share in (10, 3, 3, 3):  # the first of them warms up
        lend(config["frames"] // share)
        me, stats = os.getpid(), subscriber.stats
        facts = {"memory": memory(me), "descriptors": descriptors(me), "shared": shared()}
        counts = {"lost": stats.lost, "unshared": publisher.stats.unshared, "form": stats.form}
        print(json.dumps(facts | counts), flush=True)
"""
"""Lend frames, fill and publish them in place, receive each, and say four times what this process uses."""


class Driver:
    """Run the programs, and do something bad every so often.

    There are three publishers: `ipc` and `frames` are killed and stopped, `tcp` lives on behind a proxy that breaks
    connections; it has subscribers that are killed and stopped. One more program subscribes to all, all the time.
    """

    def __init__(self, start: Start, proxy: Proxy, sides: dict[str, Sides], rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._start, self._proxy, self._random = start, proxy, rng
        self._clock = threading.Event()
        client = sides["tcp"].client
        through = {**client, "camera1": {**client["camera1"], "port": proxy.port}}
        self._publish = {
            "ipc": {"bus": sides["ipc"].server, "pause": 0.01, "burst": 30},
            "tcp": {"bus": sides["tcp"].server, "pause": 0.01, "burst": 30},
            "frames": {"bus": sides["frames"].server, "pause": 0.1, "frame": 6_220_800},
        }
        self._read = through
        self.publishers = {name: start(PUBLISH, config) for name, config in self._publish.items()}
        self._readers = [start(READ, through) for _ in range(2)]
        watched = {"ipc": sides["ipc"].client, "tcp": through, "frames": sides["frames"].client}
        self.watcher = start(WATCH, watched, stdin=-1)

    def drive(self, seconds: float, pause: tuple[float, float]) -> None:
        """Do one bad thing after the other."""
        end = time.monotonic() + seconds
        deeds: Sequence[Callable[[], None]] = (
            self.kill,
            self.kill,
            self.stop,
            self.stop,
            self.leave,
            self.cut,
            self.cut,
        )
        while time.monotonic() < end:
            deed = self._random.choice(deeds)
            deed()
            self.done[deed.__name__] += 1
            self._clock.wait(self._random.uniform(*pause))

    def kill(self) -> None:
        """Kill a publisher, and start it again."""
        name = self._random.choice(("ipc", "frames"))
        kill(self.publishers[name])
        self.publishers[name] = self._start(PUBLISH, self._publish[name])

    def leave(self) -> None:
        """Kill a subscriber, and start it again."""
        kill(self._readers.pop(0))
        self._readers.append(self._start(READ, self._read))

    def stop(self) -> None:
        """Stop a program for a moment."""
        program = self._random.choice([*self.publishers.values(), *self._readers, self.watcher])
        program.process.send_signal(signal.SIGSTOP)
        self._clock.wait(self._random.uniform(0.1, 1.0))
        program.process.send_signal(signal.SIGCONT)

    def cut(self) -> None:
        """Break the connections of the proxy, one way or the other."""
        how = self._random.choice((self._proxy.reset, self._proxy.half_close, self._hole))
        how()

    def _hole(self) -> None:
        self._proxy.to_client = swallow
        self._clock.wait(self._random.uniform(0.1, 1.0))
        self._proxy.to_client = bytes
        self._proxy.reset()

    def end(self) -> None:
        """Let the program that watches end by itself."""
        assert self.watcher.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.watcher.process.stdin.close()
        ended = self.watcher.ends()
        assert ended == "", ended


def samples(program: Program) -> list[Sample]:
    """Return what the program has said so far."""
    return [json.loads(line) for line in tuple(program._lines)]


def growth(taken: Sequence[Sample], name: str) -> float:
    """Return how much more of something there was in the last third of a run than in the second."""
    third = max(1, len(taken) // 3)
    values = [float(sample[name]) for sample in taken]
    return statistics.median(values[-third:]) - statistics.median(values[-2 * third : -third] or values)
