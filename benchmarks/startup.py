"""What the bus costs a program that only imports it, or has it and does nothing: time and memory of new processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from benchmarks.contest import Comparison, Outcome, Standing, figure
from benchmarks.place import new_place

_TIME = "import time; start = time.perf_counter(); import {0}; print((time.perf_counter() - start) * 1000)"
_RSS = "int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() / 1e6"
_GROWTH = "import resource, zmq, {module}; before = {rss}; {lines}; print({rss} - before)"
_WHOLE = "import resource, {module}; {lines}; print({rss})"
_LIMIT = 20.0


def _python(code: str) -> float:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LIMIT)
    return float(done.stdout)


def import_time(repeats: int, progress: Callable[[str], None]) -> list[Outcome]:
    """Measure the imports."""
    programs = {"eis.msgbus": _TIME.format("eis.msgbus"), "zmq": _TIME.format("zmq")}
    return [_difference(("import", "import, new process", "ms"), programs, 100, repeats, progress)]


def idle_memory(repeats: int, progress: Callable[[str], None]) -> list[Outcome]:
    """Measure contexts that do nothing, alone and with a publisher."""
    server = new_place("tcp", "").server()
    port = server["zmq_tcp_publish"]["port"]
    ours = {"": f"c = eis.msgbus.MsgbusContext({server!r})"}
    bare = {"": "c = zmq.Context()"}
    ours[" with a publisher"] = ours[""] + "; p = c.new_publisher('bench')"
    bare[" with a publisher"] = bare[""] + f"; p = c.socket(zmq.XPUB); p.bind('tcp://127.0.0.1:{port}')"
    outcomes = []
    for what, lines in ours.items():
        programs = {
            "eis.msgbus": _GROWTH.format(module="eis.msgbus", rss=_RSS, lines=lines),
            "zmq": _GROWTH.format(module="eis.msgbus", rss=_RSS, lines=bare[what]),
        }
        outcomes.append(_difference(("memory", f"context{what}", "MB"), programs, 3, repeats, progress))
        whole = {
            "eis.msgbus": _WHOLE.format(module="eis.msgbus", rss=_RSS, lines=lines),
            "zmq": _WHOLE.format(module="zmq", rss=_RSS, lines=bare[what]),
        }
        outcomes.append(_difference(("memory", f"process and context{what}", "MB"), whole, None, repeats, progress))
    return outcomes


def _difference(
    case: tuple[str, str, str],
    programs: dict[str, str],
    mark: float | None,
    repeats: int,
    progress: Callable[[str], None],
) -> Outcome:
    name, title, unit = case
    values: dict[str, list[float]] = {program: [] for program in programs}
    for number in range(repeats + 1):
        progress(f"{name}: {title}, round {number} of {repeats}")
        for program, code in programs.items():
            values[program].append(_python(code))
    warm = {program: them[1:] for program, them in values.items()}
    standings = {program: Standing(figure(them), (0.0, 0.0)) for program, them in warm.items()}
    more = figure([mine - its for mine, its in zip(*warm.values(), strict=True)])
    reached = None if mark is None else more.median < mark
    return Outcome(name, title, unit, standings, [Comparison("eis.msgbus", "zmq", more, mark, reached)])
