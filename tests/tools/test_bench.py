"""`msgbus bench` measures with real processes, says how, and leaves nothing behind."""

import json
import math
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from eis.msgbus.tools.bench.cases import SIZES, Case
from eis.msgbus.tools.bench.showing import as_json, bars
from eis.msgbus.tools.bench.workers import Figures
from tests.meeting import until
from tests.tools.process import ENVIRONMENT, msgbus, started

pytestmark = pytest.mark.once


def children_of(pid: int) -> set[int]:
    """The processes that one started, which has threads too."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_every_way_and_size_is_measured_when_little_time_is_given(folder: Path) -> None:
    status, out, err = msgbus(folder, "bench", "-q", "--seconds", "4", "--json", "--plot", "bench.svg")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert {"date", "machine", "system", "python", "pyzmq", "load"} <= told["facts"].keys()
    rows: list[dict[str, Any]] = told["results"]
    streams = [row for row in rows if row["kind"] == "stream"]
    assert {row["bytes"] for row in streams} == set(SIZES.values())
    assert {row["way"] for row in streams} == {"shared memory", "ipc socket", "tcp", "tcp, CURVE"}
    assert [row["way"] for row in rows if row["kind"] == "requests"] == ["ipc socket", "tcp", "tcp, CURVE"]
    assert all(row["latency_p50_ms"] > 0 and row["lost"] == 0 for row in rows)
    for row in streams:  # what the name of the way says is what came
        assert row["form"] == ("shared" if row["way"] == "shared memory" else "whole"), row
    ET.fromstring((folder / "bench.svg").read_text())  # noqa: S314  # our own


def test_nothing_is_left_when_a_measurement_is_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(folder))
    with started(folder, "bench", "-q", "--seconds", "60", "--json") as bench:
        pid = bench.process.pid
        until(lambda: [*folder.glob("msgbus-bench-*/bench")])  # its first publisher is there
        children = children_of(pid)
        assert len(children) >= 2
        for child in children:
            os.kill(child, signal.SIGINT)  # as a terminal does, which tells all
        status, out, err = bench.interrupted()
    assert (status, out, err) == (130, "", "")
    until(lambda: not any(map(is_there, children)))
    assert not [*folder.glob("msgbus-bench-*")]


def test_processes_end_when_the_command_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(folder))
    with started(folder, "bench", "-q", "--seconds", "4", "--json") as bench:
        until(lambda: [*folder.glob("msgbus-bench-*/bench")])
        children = children_of(bench.process.pid)
        assert len(children) >= 2
        bench.process.kill()
    until(lambda: not any(map(is_there, children)))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--plot", "x.png"), 2, "expected FILE.svg, got 'x.png'"),
        (("--plot", "no/x.svg", "--seconds", "1"), 1, "cannot write no/x.svg"),
    ],
)
def test_it_is_said_when_bars_cannot_be_drawn(
    arguments: tuple[str, ...], status: int, words: str, folder: Path
) -> None:
    found, _, err = msgbus(folder, "bench", "-q", *arguments)
    assert found == status
    assert words in " ".join(err.split())


def test_bars_of_a_size_have_one_scale_when_they_are_drawn() -> None:
    found = {
        Case("tcp", "1 MB"): Figures(1000, 0.001, "whole", 0),
        Case("tcp, CURVE", "1 MB"): Figures(500, 0.004, "whole", 0),
        Case("tcp", requests=True): Figures(math.nan, 0.002, "", 0),
    }
    drawn = bars(found, {"machine": "a & b"})
    lengths = [float(width) for width in re.findall(r'<rect x=.*? width="([\d.]+)" height="14', drawn)]
    assert lengths == [230, 57.5, 115, 230, 0, 230]
    assert "a &amp; b" in drawn
    assert json.loads(as_json(found, {}))["results"][2]["messages_per_second"] is None


def test_the_table_has_a_line_for_each_case_when_it_is_for_people(folder: Path) -> None:
    status, out, err = msgbus(folder, "bench", "-q", "--seconds", "1")
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    assert len(re.findall(r"shared memory, in place", out)) == 3
    assert f"python {sys.version.split()[0]}" in out
