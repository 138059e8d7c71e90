"""A shell completes the topics and services of the configuration that was typed before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import eis.msgbus as mb
from eis.msgbus.tools import main
from tests.tools.process import COMMAND, DEADLINE, ENVIRONMENT

pytestmark = pytest.mark.once

IPC = {"camera1": {"socket_file": "first"}, "camera2": {}, "reboot": {}, "": {"socket_file": "all"}}
TCP = {
    "type": "zmq_tcp",
    "max_message_bytes": 1000,
    "zmq_tcp_publish": {"host": "h", "port": 1, "topics": {"camera1": ["viewer"], "camera 3": ["viewer"]}},
    "camera2": {"host": "h", "port": 2},
}
TO_COMPLETE = {
    "pub -c bus.json cam": {"camera1", "camera2", "camera9"},
    "sub -c bus.json ": {"camera1", "camera2", "camera9", "reboot"},
    "hz -n 3 --config bus.json camera2": {"camera2"},
    "record -o x.mcap -c bus.json camera1 cam": {"camera1", "camera2", "camera9"},
    "top -c tcp.json -c bus.json re": {"reboot"},
    "top -c tcp.json -c bus.json camera": {"camera1", "camera2", "camera9", "camera 3"},
    "request -c bus.json r": {"reboot"},
    "serve -c bus.json r": {"reboot"},
    "doctor bus.json cam": {"camera1", "camera2", "camera9"},
    "doctor tcp.json cam": {"camera1", "camera2", "camera 3"},
    "sub cam": set(),
    "sub -c none.json cam": set(),
    "sub -c broken.json cam": set(),
    "sub -c odd.json ": {"socket"},
}


@pytest.fixture
def place(folder: Path) -> Path:
    config = json.loads((folder / "bus.json").read_text())
    (folder / "bus.json").write_text(json.dumps(config | IPC))
    (folder / "tcp.json").write_text(json.dumps(TCP))
    (folder / "broken.json").write_text("{")
    (folder / "odd.json").write_text(json.dumps({"type": "zmq_ipc", "socket_dir": "none", "socket": 5}))
    return folder


@pytest.mark.parametrize("typed", TO_COMPLETE)
def test_names_of_the_configuration_are_completed_when_it_was_typed_before(
    typed: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"msgbus {typed}"
    monkeypatch.chdir(place)
    for name, value in {
        "_MSGBUS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }.items():
        monkeypatch.setenv(name, value)
    config = json.loads((place / "bus.json").read_text())
    with mb.MsgbusContext({"type": "zmq_ipc", "socket_dir": config["socket_dir"]}) as bus:
        publishers = [bus.new_publisher(name) for name in ("camera9", "first", "all")]
        with pytest.raises(SystemExit) as ended:
            main([])
        assert len(publishers) == 3
    assert ended.value.code == 0
    assert set(filter(None, capsys.readouterr().out.split("\n"))) == TO_COMPLETE[typed]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_every_shell_completes_a_topic(shell: str, place: Path) -> None:
    typed = "msgbus sub -c bus.json camera"
    words = {"COMP_WORDS": typed, "COMP_CWORD": "4", "_TYPER_COMPLETE_ARGS": typed}
    fish = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "camera"}
    environment = ENVIRONMENT | words | fish | {"_MSGBUS_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(
        COMMAND, cwd=place, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert ("camera1" in done.stdout, "camera2" in done.stdout, done.stderr) == (True, True, "")


def test_bash_completes_a_topic_when_its_completion_is_loaded(place: Path) -> None:
    asked = "COMP_WORDS=(msgbus sub -c bus.json cam); COMP_CWORD=4; _msgbus_completion msgbus"
    script = f'eval "$(msgbus --show-completion; true)"; {asked}; echo "${{COMPREPLY[@]}}"'
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(
        command, cwd=place, env=ENVIRONMENT | path, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (done.stdout, done.stderr) == ("camera1 camera2\n", "")
