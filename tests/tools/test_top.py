"""`msgbus top` tells what goes over the bus, from real publishers."""

import io
import itertools
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import eis.msgbus as mb
from eis.msgbus.tools.top.table import ordered, table
from eis.msgbus.tools.top.watched import Row
from tests.meeting import until
from tests.tools.process import COMMAND, DEADLINE, ENVIRONMENT, Started, msgbus, started
from tests.tools.repeating import repeating

FRAME = {"width": 320, "height": 240, "channels": 3}
RATE = 50


@contextmanager
def publishing(config: dict[str, Any], *topics: str, meta_data: dict[str, Any] | None = None) -> Iterator[None]:
    """Publish on some topics, until the end of the block."""
    message = (FRAME if meta_data is None else meta_data, bytes(320 * 240 * 3))
    with mb.MsgbusContext(config) as bus:
        publishers = [bus.new_publisher(topic) for topic in topics]

        def publish() -> None:
            for publisher in publishers:
                publisher.publish(message)

        with repeating(publish, 1 / RATE):
            yield


def ipc(folder: Path, **entries: Any) -> dict[str, Any]:
    return {"type": "zmq_ipc", "socket_dir": str(folder / "sockets"), **entries}


def reports(command: Started) -> Iterator[dict[str, dict[str, Any]]]:
    """The reports of a command that prints JSON, by topic."""
    while line := command.line():
        yield {row["topic"]: row for row in json.loads(line)["topics"]}


class Terminal:
    """A command in a terminal of its own; `text` is what it has written there, without colours and movements."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        environment = ENVIRONMENT | {"TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40", "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 65536):
                self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))
        except OSError:  # how a terminal says that nobody writes any more
            return

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        os.close(self._ours)


def row_of(topic: str, state: str, text: str) -> list[str]:
    """The cells of a row that was shown, with latency; none if there was none."""
    rows = [line.split() for line in text.splitlines() if topic in line and state in line]
    return next((row for row in rows if len(row) >= (8 if state == "connected" else 1)), [])


def test_a_table_shows_losses_of_connections_when_publishers_restart(folder: Path, tcp_port: int) -> None:
    at = {"host": "127.0.0.1", "port": tcp_port}
    (folder / "tcp.json").write_text(json.dumps({"type": "zmq_tcp", "results": at}))
    tcp = {"type": "zmq_tcp", "zmq_tcp_publish": at}
    arguments = ("top", "-c", "bus.json", "-c", "tcp.json", "--every", "0.2")
    with closing(Terminal(folder, *arguments)) as top, publishing(tcp, "results", meta_data={"defects": []}):
        with publishing(ipc(folder), "camera1"):
            until(lambda: row_of("camera1", "connected", top.text) and row_of("results", "connected", top.text))
        camera, results = (row_of(topic, "connected", top.text) for topic in ("camera1", "results"))
        assert camera[-5:] == ["0", "0", "metadata", "connected", "bus.json"]
        assert results[-5:] == ["0", "0", "metadata", "connected", "tcp.json"]
        assert len(camera) == len(results) + 1  # no raw frames there
        until(lambda: row_of("camera1", "reconnecting", top.text))
        seen = len(top.text)
        with publishing(ipc(folder), "camera1"):
            until(lambda: row_of("camera1", "connected", top.text[seen:])[-4:-3] == ["1"])
        top.process.send_signal(signal.SIGINT)
        assert top.process.wait(DEADLINE) == 130
        assert "Traceback" not in top.text


@pytest.mark.parametrize("width", [80, 110])
def test_no_head_is_cut_off_when_a_terminal_is_narrow(width: int) -> None:
    row = Row("camera1", "bus.json", 30.0, 186.6, 0.0004, 0, 0, "metadata", "reconnecting", "", subscribers=3)
    console = Console(width=width, file=io.StringIO())
    console.print(table([row], width))
    assert isinstance(console.file, io.StringIO)
    heads, *rest = console.file.getvalue().splitlines()[1:]
    assert "…" not in heads
    assert ("FROM" in heads) is (width == 110)
    assert {"camera1", "30.0", "186.6", "0.40", "3", "0", "reconnecting"} <= set(rest[1].split())


def test_figures_are_those_of_the_publisher_when_frames_are_raw(folder: Path) -> None:
    with (
        publishing(ipc(folder), "camera1"),
        started(folder, "top", "-c", "bus.json", "--every", "0.5", "--json") as top,
    ):
        row = next(report["camera1"] for report in reports(top) if report["camera1"]["messages_per_second"] > 5)
        assert row["subscribers"] == 0
        with mb.MsgbusContext(ipc(folder)) as bus, bus.new_subscriber("camera1"):
            assert next(report for report in reports(top) if report["camera1"]["subscribers"] == 1)
        status, _, err = top.interrupted()
    assert (status, err) == (130, "")
    assert row["messages_per_second"] < RATE * 2
    megabytes = row["messages_per_second"] * 320 * 240 * 3 / 1e6
    assert abs(row["frame_megabytes_per_second"] - megabytes) < 0.01
    assert row["latency_ms"] > 0
    assert (row["lost"], row["restarts"], row["form"]) == (0, 0, "metadata")
    assert (row["status"], row["reason"], row["names"]) == ("connected", "", [])


def test_each_topic_has_a_line_when_one_address_has_several(folder: Path) -> None:
    config = ipc(folder, **{"": {"socket_file": "all"}})
    encoded = FRAME | {"encoding_type": "jpeg"}
    with publishing(config, "camera1", "camera2", meta_data=encoded):
        address = ("-a", f"ipc://{folder}/sockets/all", "--every", "1", "-n", "1")
        _, out, _ = msgbus(folder, "top", *address)
        names = [line[:24].rstrip() for line in out.splitlines()]
        assert names == ["TOPIC", "(all topics)", "  camera1", "  camera2"]
        with started(folder, "top", *address[:-2], "--json") as top:
            row = next(each[""] for each in reports(top) if len(each[""]["names"]) == 2)
    assert row["frame_megabytes_per_second"] is None  # their size is not known
    rates = [each["messages_per_second"] for each in row["names"]]
    assert abs(sum(rates) - row["messages_per_second"]) < 0.1


def test_who_is_no_publisher_is_told_when_a_service_listens(folder: Path) -> None:
    with (
        mb.MsgbusContext(ipc(folder)) as bus,
        started(folder, "top", "-c", "bus.json", "--every", "0.2", "--json") as top,
    ):
        service = bus.new_service("reboot")
        row = next(report["reboot"] for report in reports(top) if report.get("reboot", {}).get("reason"))
        turned_away = service.stats.refused
        *_, report = itertools.islice(reports(top), 15)  # three seconds, in which it would come back
        assert (row["status"], report["reboot"]["status"]) == ("no publisher", "no publisher")
        assert service.stats.refused == turned_away  # it is left alone from then on


def test_topics_that_come_later_are_found_when_no_entry_names_them(folder: Path) -> None:
    with started(folder, "top", "-c", "bus.json", "--every", "0.1", "--json") as top:
        assert next(reports(top)) == {}
        with publishing(ipc(folder), "camera7"):
            row = next(report["camera7"] for report in reports(top) if "camera7" in report)
    assert row["from"] == "bus.json"


@pytest.mark.parametrize(
    ("config", "topics"),
    [
        ({"type": "zmq_ipc", "": {"socket_file": "all"}, "a": {}, "b": {"socket_file": "own"}}, {"", "b"}),
        ({"type": "zmq_ipc", "a": {"socket_file": "own"}}, {"a"}),
        (
            {"type": "zmq_tcp", "a": {"host": "127.0.0.1", "port": 9}, "zmq_tcp_publish": {"host": "*", "port": 9}},
            {"a"},
        ),
    ],
    ids=["one socket file for the rest", "a socket file of another name", "tcp"],
)
def test_topics_are_those_of_the_configuration_when_none_is_given(
    config: dict[str, Any], topics: set[str], folder: Path
) -> None:
    there = {"socket_dir": str(folder / "sockets")} if config["type"] == "zmq_ipc" else {}
    (folder / "x.json").write_text(json.dumps(config | there))
    status, out, _ = msgbus(folder, "top", "-c", "x.json", "--every", "0.1", "-n", "1", "--json")
    assert status == 0
    assert {row["topic"] for row in json.loads(out)["topics"]} == topics


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected at least one"),
        (("-c", "none.json"), "cannot read it"),
        (("-a", "http://camera"), "expected ipc://DIRECTORY/FILE or tcp://HOST:PORT"),
        (("-c", "camera.json"), "names no topic to subscribe to"),
    ],
)
def test_what_to_change_is_said_when_there_is_nothing_to_watch(
    arguments: tuple[str, ...], words: str, folder: Path
) -> None:
    at = {"host": "127.0.0.1", "port": 9}
    (folder / "camera.json").write_text(json.dumps({"type": "zmq_tcp", "zmq_tcp_publish": at}))
    status, out, err = msgbus(folder, "top", *arguments)
    assert (status, out) == (2, "")
    assert words in " ".join(err.replace("│", " ").split())


def test_subscriptions_stay_above_their_topics_when_they_are_sorted() -> None:
    def row(topic: str, rate: float, lost: int | None = 0, *, part: bool = False) -> Row:
        return Row(topic, "x", rate, None, None, lost, part=part)

    rows = [row("a", 1), row("b", 5, 2), row("b1", 2, None, part=True), row("b2", 3, None, part=True)]
    assert [each.topic for each in ordered(rows, "rate")] == ["b", "b2", "b1", "a"]
    assert [each.topic for each in ordered(rows, "name")] == ["a", "b", "b1", "b2"]
    assert [each.topic for each in ordered(rows, "lost")] == ["b", "b1", "b2", "a"]


def test_the_error_is_told_in_a_line_when_the_bus_refuses_a_topic(folder: Path) -> None:
    (folder / "x.json").write_text(json.dumps({"type": "zmq_tcp", "a": {"host": "127.0.0.1", "port": 9}}))
    status, out, err = msgbus(folder, "top", "b", "-c", "x.json", "-n", "1")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "Traceback" not in err


def test_a_socket_file_is_left_alone_when_its_name_is_not_utf_8(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(bytes(folder / "sockets") + b"/cam\xff")
        done = msgbus(folder, "top", "-c", "bus.json", "--every", "0.1", "-n", "1", "--json")
    assert (done[0], json.loads(done[1])["topics"], done[2]) == (0, [], "")
