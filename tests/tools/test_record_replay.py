import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import pytest

import eis.msgbus as mb
from eis.msgbus import recording
from eis.msgbus.recording import Figures
from eis.msgbus.tools import main, replay
from eis.msgbus.tools.progress import Progressing
from tests.meeting import until
from tests.tools.process import COMMAND, DEADLINE, ENVIRONMENT, msgbus, started
from tests.tools.recordings import make_recording

WHERE = ("-c", "bus.json")
FRAME = bytes(range(48))
DESCRIBED = ("width=4", "height=4", "channels=3")


def recorded(folder: Path, *arguments: str) -> None:
    """Record `all.mcap`: two messages of camera1, of which each has a frame."""
    (folder / "frame").write_bytes(FRAME)
    with started(folder, "record", "-o", "all.mcap", "camera1", *WHERE, "-n", "2", "--json", *arguments) as recorder:
        done = msgbus(folder, "pub", "camera1", "n=1", *DESCRIBED, "-b", "frame", "-n", "2", "--rate", "20", *WHERE)
        assert done == (0, "", "")
        status, out, err = recorder.ended()
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert (told["file"], told["messages"], told["dropped"], told["lost"]) == ("all.mcap", 2, {}, {"camera1": 0})
    assert told["size"] == (folder / "all.mcap").stat().st_size


def test_messages_come_again_as_they_were_when_replayed(folder: Path) -> None:
    recorded(folder)
    with started(folder, "sub", "camera1", *WHERE, "-n", "2", "--save", "frames") as subscriber:
        status, out, err = msgbus(folder, "replay", "all.mcap", *WHERE, "--subscribers", "1", "--json")
        assert (status, err) == (0, "")
        shown = [json.loads(line) for line in subscriber.ended()[1].splitlines()]
    assert [message["metadata"] for message in shown] == [{"n": 1, "width": 4, "height": 4, "channels": 3}] * 2
    assert [(folder / message["files"][0]).read_bytes() for message in shown] == [FRAME] * 2
    told = json.loads(out)
    assert (told["file"], told["messages"], told["dropped"]) == ("all.mcap", 2, 0)
    assert 0 <= told["late_ms"] < 1000 * DEADLINE


def test_several_topics_share_an_address_when_recorded_and_replayed(folder: Path, tcp_port: int) -> None:
    here = ("-a", f"tcp://127.0.0.1:{tcp_port}")
    with (
        started(folder, "record", "-o", "all.mcap", "camera1", "results", *here, "-n", "4") as recorder,
        mb.MsgbusContext({"type": "zmq_tcp", "zmq_tcp_publish": {"host": "127.0.0.1", "port": tcp_port}}) as bus,
    ):
        for topic in ("camera1", "results"):
            publisher = bus.new_publisher(topic)
            publisher.wait_for_subscribers(1, timeout=DEADLINE * 1000)
            for number in range(2):
                publisher.publish({"n": number})
        status, out, err = recorder.ended()
    assert status == 0, err
    assert out.startswith("all.mcap: ")
    assert " 4 messages, " in out
    with started(folder, "sub", "", *here, "-n", "4") as subscriber:
        # A subscriber of everything is one of each topic.
        replayed = msgbus(folder, "replay", "all.mcap", *here, "--subscribers", "1", "--speed", "0")
        shown = [json.loads(line) for line in subscriber.ended()[1].splitlines()]
    assert replayed[0] == 0, replayed
    # Which topic comes first is decided by who receives first: two subscribers recorded them.
    assert sorted((message["name"], message["metadata"]["n"]) for message in shown) == [
        ("camera1", 0), ("camera1", 1), ("results", 0), ("results", 1),
    ]  # fmt: skip


def test_files_of_a_recording_that_was_split_are_replayed_as_one(folder: Path) -> None:
    (folder / "frame").write_bytes(bytes(2_000_000))  # more than a file waits for
    recorded_in = ("record", "-o", "day.mcap", "camera1", *WHERE, "-n", "3", "--split-size", "0.001")
    with started(folder, *recorded_in) as recorder:
        done = msgbus(folder, "pub", "camera1", "n=1", "-b", "frame", "-n", "3", "--rate", "20", *WHERE)
        assert done == (0, "", "")
        status, out, err = recorder.ended()
    files = sorted(path.name for path in folder.glob("*.mcap"))
    assert (status, err, files) == (0, "", ["day-0001.mcap", "day-0002.mcap", "day-0003.mcap"])
    assert out.startswith("day.mcap: ")
    with started(folder, "sub", "camera1", *WHERE, "-n", "3") as subscriber:
        replayed = msgbus(folder, "replay", *files, *WHERE, "--subscribers", "1", "--json")
        shown = subscriber.ended()[1].splitlines()
    assert (replayed[0], json.loads(replayed[1])["messages"], len(shown)) == (0, 3, 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_file_is_complete_when_a_signal_ends_the_recording(number: signal.Signals, folder: Path) -> None:
    with started(folder, "record", "-o", "all.mcap", "camera1", *WHERE) as recorder:
        assert msgbus(folder, "pub", "camera1", "n=1", "-n", "3", *WHERE) == (0, "", "")
        until(lambda: b'{"n":1}' in (folder / "all.mcap").read_bytes())
        recorder.process.send_signal(number)
        status, out, err = recorder.ended()
    assert (status, err) == (0, "")
    assert "3 messages" in out
    found = recording.Recording(folder / "all.mcap")
    assert (found.complete, len(list(found.messages()))) == (True, 3)


def test_what_there_is_is_replayed_when_the_recorder_was_killed(folder: Path) -> None:
    with started(folder, "record", "-o", "all.mcap", "camera1", *WHERE) as recorder:
        assert msgbus(folder, "pub", "camera1", "n=1", "-n", "3", *WHERE) == (0, "", "")
        until(lambda: b'{"n":1}' in (folder / "all.mcap").read_bytes())
        recorder.process.kill()
        recorder.ended()
    status, out, err = msgbus(folder, "replay", "all.mcap", *WHERE, "--json")
    assert (status, err) == (0, "msgbus: all.mcap was cut short: it is replayed as far as it goes\n")
    assert json.loads(out)["messages"] == 2


@pytest.mark.once
def test_a_replay_begins_anew_when_it_is_to_loop(folder: Path) -> None:
    make_recording(folder / "all.mcap")
    with (
        started(folder, "sub", "camera1", *WHERE, "-n", "7") as subscriber,
        started(folder, "replay", "all.mcap", *WHERE, "--subscribers", "1", "--loop", "--speed", "5") as replay,
    ):
        assert len(subscriber.ended()[1].splitlines()) == 7
        assert replay.interrupted() == (130, "", "")


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--topics", "camera2", *WHERE], "expected one of 'camera1', got 'camera2'"),
        (["-a", "ipc://sockets/x", *WHERE], "expected one of the two"),
        (["--speed", "-1", *WHERE], "--speed"),
    ],
)
def test_a_replay_does_not_start_when_arguments_are_wrong(arguments: list[str], complaint: str, folder: Path) -> None:
    make_recording(folder / "all.mcap")
    status, out, err = msgbus(folder, "replay", "all.mcap", *arguments)
    assert (status, out) == (2, "")
    assert complaint in err


@pytest.mark.once
def test_a_command_says_why_when_a_file_cannot_be_used(folder: Path) -> None:
    told = "msgbus: bus.json: expected an MCAP file, got something else\n"
    assert msgbus(folder, "replay", "bus.json", *WHERE) == (1, "", told)
    told = "msgbus: bus.json is there already, and is not written over\n"
    assert msgbus(folder, "record", "-o", "bus.json", "camera1", *WHERE) == (1, "", told)


@pytest.mark.once
def test_how_far_it_is_is_shown_when_stderr_is_a_terminal(folder: Path) -> None:
    reader, terminal = pty.openpty()
    command = [*COMMAND, "record", "-o", "all.mcap", "camera1", *WHERE, "--duration", "1"]
    showing = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=terminal, text=True)
    try:
        out, _ = showing.communicate(timeout=DEADLINE)
        shown = os.read(reader, 10_000).decode()
    finally:
        showing.kill()
        os.close(reader)
        os.close(terminal)
    assert "0 messages" in out
    assert "s, 0 messages, 0.0 MB, 0.0 MB/s, 0 missing" in shown


@pytest.mark.once
def test_how_far_it_is_is_told_now_and_then_when_stderr_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.tools.progress._EVERY", 0)
    for quiet in (False, True):
        with Progressing(quiet) as progress:
            progress.show("halfway", 0.5)
    assert capsys.readouterr().err == "msgbus: halfway\n"


class FakeRecorder:
    """A recorder whose disk is slow and whose subscriber is slower, of which neither can be made to be so."""

    figures = Figures(2.0, 10, 20_000_000, 20_001_000, {"camera1": 2}, {"camera1": 3})

    def __init__(self, *_: object, **__: object) -> None:
        self.ended = self

    def wait(self, _: float) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.once
def test_it_is_told_and_the_command_fails_when_messages_are_missing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "Recorder", FakeRecorder)
    with pytest.raises(SystemExit) as ended:
        main(["record", "-o", str(folder / "all.mcap"), "camera1", "-c", str(folder / "bus.json")])
    out, err = capsys.readouterr()
    assert ended.value.code == 1
    assert out.endswith("all.mcap: 2.0 s, 10 messages, 20.0 MB, 10.0 MB/s, 5 missing\n")
    assert err == "msgbus: 5 messages are missing: 2 came faster than they could be written, 3 did not come at all\n"


@pytest.mark.once
@pytest.mark.parametrize("command", ["record", "replay"])
def test_a_command_says_what_to_install_when_the_extra_of_recordings_is_missing(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eis.msgbus.tools._RECORDING", ("no_such_module",))
    assert main([command, "--help"]) == 2
    needs = f'msgbus: {command} needs mcap and what goes with it: pip install "eis-msgbus[cli,record]"\n'
    assert capsys.readouterr().err == needs


@pytest.mark.once
def test_no_command_but_those_of_recordings_loads_their_libraries() -> None:
    code = "import sys, eis.msgbus.tools.application as a; a.run(['--help'])"
    guard = "import sys, atexit; atexit.register(lambda: print(sorted({'mcap', 'google.protobuf'} & set(sys.modules))))"
    command: list[Any] = [sys.executable, "-c", f"{guard}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert done.stdout.endswith("[]\n")


def test_a_wait_of_centuries_is_one_that_can_be_ended_when_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(threading.Event):
        """Ctrl-C, while it waits."""

        def wait(self, timeout: float | None = None) -> bool:
            super().wait(timeout and timeout / 1e6)
            raise KeyboardInterrupt

    monkeypatch.setattr("eis.msgbus.tools.replay.threading.Event", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        replay._wait(1e300)
