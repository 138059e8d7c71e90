"""Processes that do one side each of a contender's work on command, slice by slice: one begins, others receive."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
import traceback
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Semaphore
from typing import Self

from benchmarks.place import Place
from benchmarks.work import NotOfferedError, Role, Work

_spawn = multiprocessing.get_context("spawn")
_STALLED = 8.0  # seconds after which a window that does not move is an error
_START = 30.0
_END = 3.0  # seconds to close what is open, until the process is killed


class Failure(Exception):
    """Say that a process failed, or did not finish in time."""


class Missing(Failure):
    """Say that this contender is not there to be measured."""


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
    """What a pair did: messages, seconds, and times in nanoseconds if any were taken.

    CPU seconds are those of the process that begins, and of a receiver, the mean of them if there are several.
    """

    messages: int
    seconds: float
    cpu: tuple[float, float]
    times: list[int]

    @property
    def rate(self) -> float:
        """Return messages per second."""
        return self.messages / self.seconds


class Pair:
    """Run the sides of a contender in processes of their own, until closed. What does not end then is killed by pid."""

    def __init__(self, roles: tuple[Role, Role], place: Place, window: Window) -> None:
        begins, receives = roles
        # The credits must outlive the start of the processes.
        self._credits = [_spawn.Semaphore(window.batches) for _ in range(place.subscribers)]
        self._sides = [_start(begins, place, self._credits, window, first=True)]
        self._sides += [_start(receives, place, [credit], window, first=False) for credit in self._credits]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for _, pipe in self._sides:
            pipe.close()
        for process, _ in self._sides:
            process.join(_END)
            process.kill()
            process.join()

    def ready(self) -> None:
        """Wait until all sides are connected."""
        for _, pipe in self._sides:
            _answer(pipe, _START)

    def run(self, messages: int, limit: float) -> Slice:
        """Do a slice of so many messages, a multiple of the window's size.

        Raises:
            Failure: it took longer than `limit` seconds, or one side raised.
        """
        for _, pipe in reversed(self._sides):  # the receivers first
            pipe.send(messages)
        sender, *receivers = (_answer(pipe, limit) for _, pipe in self._sides)
        seconds = max(side.end for side in (sender, *receivers)) - sender.start
        times = sender.times or [time for side in receivers for time in side.times]
        cpu = sum(side.cpu for side in receivers) / len(receivers)
        return Slice(messages, seconds, (sender.cpu, cpu), times)


def _start(
    role: Role, place: Place, credits: list[Semaphore], window: Window, *, first: bool
) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    mine, theirs = _spawn.Pipe()
    process = _spawn.Process(
        target=_serve, args=(role, place, theirs, credits, window), kwargs={"first": first}, daemon=True
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
    if isinstance(answer, Failure):
        raise answer
    assert isinstance(answer, _Side)
    return answer


# What runs in the processes.


def _serve(
    role: Role, place: Place, pipe: Connection, credits: list[Semaphore], window: Window, *, first: bool
) -> None:
    with suppress(EOFError, OSError, KeyboardInterrupt), ExitStack() as stack:
        try:
            work = stack.enter_context(role(place))
            pipe.send(_Side(0, 0, 0, []))
            while True:
                pipe.send(_slice(work, pipe.recv(), credits, window, first=first))
        except (EOFError, BrokenPipeError):
            return
        except Exception as error:  # noqa: BLE001  # told by the process that prints, before what is open is closed
            pipe.send(_failure(error))


def _failure(error: Exception) -> Failure:
    if isinstance(error, ModuleNotFoundError):
        return Missing(f"not installed: {error.name}")
    if isinstance(error, NotOfferedError):
        return Missing(str(error))
    return Failure("".join(traceback.format_exception(error)))


def _slice(work: Work, messages: int, credits: list[Semaphore], window: Window, *, first: bool) -> _Side:
    times: list[int] = []
    aside = 0.0  # CPU seconds for the credits
    start, cpu = time.monotonic(), time.process_time()
    for _ in range(messages // window.size):
        if first:
            aside += _take_one_of_each(credits)
        times += work(window.size) or ()
        if not first:
            credits[0].release()
    end = time.monotonic()
    if first:
        _settle(credits, window)
    return _Side(start, end, time.process_time() - cpu - aside, times)


def _take_one_of_each(credits: list[Semaphore]) -> float:
    """Wait until every receiver has room; return the CPU seconds that this took: they are not the contender's."""
    before = time.thread_time()
    if not all(credit.acquire(timeout=_STALLED) for credit in credits):
        raise Failure("a receiver does not keep up: messages were lost")
    return time.thread_time() - before


def _settle(credits: list[Semaphore], window: Window) -> None:
    """Wait until all has been received: until then the threads of a library are still at work for this slice."""
    for credit in credits:
        if not all(credit.acquire(timeout=_STALLED) for _ in range(window.batches)):
            raise Failure("a receiver does not keep up: messages were lost")
    for credit in credits:
        for _ in range(window.batches):
            credit.release()
