"""Two processes that do one side each of a contender's work, slice by slice, on command."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
import traceback
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Semaphore
from typing import Self

from benchmarks.place import Place
from benchmarks.work import Role, Work

_spawn = multiprocessing.get_context("spawn")
_STALLED = 8.0  # seconds after which a window that does not move is an error
_START = 30.0


class Failure(Exception):
    """Say that a process failed, or did not finish in time."""


@dataclasses.dataclass(frozen=True)
class Window:
    """Bound what is outstanding: `batches` of `size` messages. ZeroMQ drops from 1,000 on, so no more than that."""

    size: int
    batches: int


@dataclasses.dataclass(frozen=True)
class _Side:
    """What one process reports of a slice: CLOCK_MONOTONIC seconds, CPU seconds of all its threads."""

    start: float
    end: float
    cpu: float
    times: list[int]


@dataclasses.dataclass(frozen=True)
class Slice:
    """What a pair did: messages, seconds, CPU seconds of both processes, and times in nanoseconds if any were taken."""

    messages: int
    seconds: float
    cpu: tuple[float, float]
    times: list[int]

    @property
    def rate(self) -> float:
        """Return messages per second."""
        return self.messages / self.seconds


class Pair:
    """Run the two sides of a contender in processes of their own, until closed. At the end they are killed by pid."""

    def __init__(self, roles: tuple[Role, Role], place: Place, window: Window) -> None:
        self._window = window
        self._credit = _spawn.Semaphore(window.batches)  # must outlive the start of the processes
        self._sides = [_start(role, place, self._credit, window, first=role is roles[0]) for role in roles]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process, _ in self._sides:
            process.kill()
            process.join()

    def ready(self) -> None:
        """Wait until both sides are connected."""
        for _, pipe in self._sides:
            _answer(pipe, _START)

    def run(self, messages: int, limit: float) -> Slice:
        """Do a slice of so many messages, a multiple of the window's size.

        Raises:
            Failure: it took longer than `limit` seconds, or one side raised.
        """
        for _, pipe in reversed(self._sides):  # the receiver first
            pipe.send(messages)
        sender, receiver = (_answer(pipe, limit) for _, pipe in self._sides)
        seconds = max(sender.end, receiver.end) - sender.start
        return Slice(messages, seconds, (sender.cpu, receiver.cpu), sender.times or receiver.times)


def _start(
    role: Role, place: Place, credit: Semaphore, window: Window, *, first: bool
) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    mine, theirs = _spawn.Pipe()
    process = _spawn.Process(
        target=_serve, args=(role, place, theirs, credit, window), kwargs={"first": first}, daemon=True
    )
    process.start()
    theirs.close()
    return process, mine


def _answer(pipe: Connection, limit: float) -> _Side:
    if not pipe.poll(max(0.0, limit)):
        raise Failure(f"no answer within {limit:g} s")
    try:
        answer = pipe.recv()
    except EOFError:
        raise Failure("the process is gone") from None
    if isinstance(answer, str):
        raise Failure(answer)
    assert isinstance(answer, _Side)
    return answer


# What runs in the processes.


def _serve(role: Role, place: Place, pipe: Connection, credit: Semaphore, window: Window, *, first: bool) -> None:
    try:
        with ExitStack() as stack:
            work = stack.enter_context(role(place))
            pipe.send(_Side(0, 0, 0, []))
            while True:
                pipe.send(_slice(work, pipe.recv(), credit, window, first=first))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception:  # noqa: BLE001  # told by the process that prints
        pipe.send(traceback.format_exc())


def _slice(work: Work, messages: int, credit: Semaphore, window: Window, *, first: bool) -> _Side:
    times: list[int] = []
    start, cpu = time.monotonic(), time.process_time()
    for _ in range(messages // window.size):
        if first and not credit.acquire(timeout=_STALLED):
            raise Failure("the receiver does not keep up: messages were lost")
        times += work(window.size) or ()
        if not first:
            credit.release()
    return _Side(start, time.monotonic(), time.process_time() - cpu, times)
