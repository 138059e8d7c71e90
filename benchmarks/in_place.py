"""Where the time of a frame in place goes: each step of both sides, and what the kernel takes of it, in one process."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks import ours
from benchmarks.contest import Outcome, Standing, figure
from benchmarks.place import new_place
from benchmarks.work import small_message

_FRAME = 1080 * 1920 * 3  # bytes
_FRAMES = 500  # in one round; the median counts
_CALLS = 1000
_WRITE, _UNLOCK = (struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 1, 0) for kind in (fcntl.F_WRLCK, fcntl.F_UNLCK))

Steps = dict[str, float]


def steps_in_place(repeats: int, progress: Callable[[str], None]) -> list[Outcome]:
    """Measure the steps, in microseconds per frame, of a publisher and a subscriber that take turns."""
    rounds: list[Steps] = []
    with ExitStack() as stack:
        place = new_place("ipc", stack.enter_context(tempfile.TemporaryDirectory()))
        subscriber = stack.enter_context(ours.subscriber(place))
        publisher = stack.enter_context(ours.publisher(place))
        message = small_message()
        for number in range(10 * repeats + 1):
            progress(f"profile in place: round {number} of {10 * repeats}")
            times: list[tuple[int, ...]] = []
            for _ in range(_FRAMES):
                start = time.perf_counter_ns()
                loan = publisher.loan(_FRAME)
                lent = time.perf_counter_ns()
                publisher.publish((message, loan))
                published = time.perf_counter_ns()
                del loan
                envelope = subscriber.recv()
                received = time.perf_counter_ns()
                del envelope
                times.append((lent - start, published - lent, received - published, time.perf_counter_ns() - received))
            rounds.append(_steps([statistics.median(each) / 1000 for each in zip(*times, strict=True)]))
    standings = {step: Standing(figure([each[step] for each in rounds[1:]]), (0.0, 0.0)) for step in rounds[0]}
    return [Outcome("profile", "steps of a frame in place, both sides", "us", standings, [])]


def _steps(times: list[float]) -> Steps:
    names = ("loan: a slot to fill", "publish, and take the next slot", "recv: notice and lease", "let go of the frame")
    kernel = {
        "kernel: a slot locked and unlocked, twice": 2 * _locked(),
        "kernel: a packet sent, looked for and read, twice": 2 * _told(),
    }
    whole = sum(times)
    rest = whole - sum(kernel.values())
    return {**dict(zip(names, times, strict=True)), **kernel, "Python": rest, "both sides, whole": whole}


def _locked() -> float:
    """Return what it takes to lock and unlock a byte of an open file description."""
    descriptor = os.memfd_create("bench")
    try:
        start = time.perf_counter_ns()
        for _ in range(_CALLS):
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WRITE)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _UNLOCK)
        return (time.perf_counter_ns() - start) / _CALLS / 1000
    finally:
        os.close(descriptor)


def _told() -> float:
    """Return what it takes to send a packet by a Unix socket, to see that it is there, and to read it."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, theirs:
        packet, poll = bytes(200), select.poll()
        poll.register(theirs, select.POLLIN)
        start = time.perf_counter_ns()
        for _ in range(_CALLS):
            mine.send(packet)
            poll.poll(0)
            theirs.recv(8192)
        return (time.perf_counter_ns() - start) / _CALLS / 1000
