"""Two processes, through all cases, and what is true of the machine meanwhile. Does not know how it is shown."""

import datetime as dt
import importlib.metadata
import multiprocessing
import os
import platform
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from eis.msgbus import MessageBusError
from eis.msgbus.tools.bench.cases import Case, cases, job_of
from eis.msgbus.tools.bench.workers import Figures, Line, ask_and_subscribe, publish_and_serve
from eis.msgbus.tools.version import version

__all__ = ["facts", "measure"]

_spawn = multiprocessing.get_context("spawn")
_PATIENCE = 30.0  # seconds beyond the time of a case
_FAREWELL = 3.0
_OVERHEAD = 0.15  # seconds of each case, until both are connected

_Begun = Callable[[Case, int], object]


def measure(seconds: float, begun: _Begun) -> dict[Case, Figures]:
    """Measure all cases in about so many seconds; `begun` is told of each, and how many were before.

    Raises:
        MessageBusError: a process failed.
    """
    all_cases = list(cases())
    each = max(0.1, seconds / len(all_cases) - _OVERHEAD)
    found: dict[Case, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="msgbus-bench-") as directory, _processes() as sides:
        for number, case in enumerate(all_cases):
            begun(case, number)
            job = job_of(case, directory, each)
            for orders in sides:
                orders.send(job)
            _answer(case, sides[0], each)
            figures = _answer(case, sides[1], each)
            assert isinstance(figures, Figures)
            found[case] = figures
    return found


def _answer(case: Case, orders: Line, seconds: float) -> Any:
    try:
        answer = orders.recv() if orders.poll(seconds + _PATIENCE) else "no answer in time"
    except (EOFError, OSError):
        answer = "its process ended"
    if isinstance(answer, str):
        raise MessageBusError(f"{case.title}, {case.size}: {answer}")
    return answer


@contextmanager
def _processes() -> Iterator[tuple[Line, Line]]:
    """Run both processes; none is left when the block ends."""
    with _no_interrupt():
        one, other = _spawn.Pipe()
        server = _started(publish_and_serve, one)
        client = _started(ask_and_subscribe, other)
    try:
        yield server[1], client[1]
    finally:
        for _, orders in (server, client):
            orders.close()
        for process, _ in (server, client):
            process.join(_FAREWELL)
            process.kill()
            process.join()


def _started(target: Callable[[Line, Line], None], other: Line) -> tuple[BaseProcess, Line]:
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=target, args=(theirs, other), daemon=True)
    process.start()
    theirs.close()
    other.close()
    return process, ours


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Have processes that are started here leave Ctrl-C to this one, which then ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def facts(seconds: float) -> dict[str, str]:
    """Return what figures cannot be read without."""
    said = {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {_cores()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "pyzmq": importlib.metadata.version("pyzmq"),
        "eis-msgbus": version(),
        "time": f"{seconds:g} s for all",
    }
    return said | ({"load": f"{os.getloadavg()[0]:.1f} before"} if hasattr(os, "getloadavg") else {})


def _cores() -> int:
    """Return how many this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
