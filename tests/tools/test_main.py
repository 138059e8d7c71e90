import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eis.msgbus.tools import COMMANDS, main
from tests.tools.process import COMMAND, DEADLINE, ENVIRONMENT, msgbus

WITHOUT = "import sys, eis.msgbus.tools as t; t._EXTRA = ('no_such_module',); sys.exit(t.main(sys.argv[1:]))"
"""The command where the extra is not installed."""


def without_extra(*arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-W", "error", "-c", WITHOUT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, env=ENVIRONMENT)
    return done.returncode, done.stdout, done.stderr


def status_of(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def test_the_version_is_told_when_asked(tmp_path: Path) -> None:
    status, out, err = msgbus(tmp_path, "--version")
    assert (status, err) == (0, "")
    assert re.fullmatch(r"msgbus \d+\.\d+\.\d+\n", out)


def test_the_version_is_told_when_the_extras_are_missing() -> None:
    assert without_extra("--version")[1].startswith("msgbus ")


def test_the_commands_are_named_when_none_is_given(tmp_path: Path) -> None:
    status, out, err = msgbus(tmp_path)
    assert status == 2
    assert {*COMMANDS, "demo"} < set((out + err).split())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_what_to_install_when_its_extra_is_missing(command: str) -> None:
    needs = f'msgbus: {command} needs typer and rich: pip install "eis-msgbus[cli]"\n'
    assert without_extra(command, "--help") == (2, "", needs)


def test_the_help_says_what_to_install_when_the_extra_is_missing() -> None:
    status, out, _ = without_extra("--help")
    assert status == 0
    assert "demo" in out
    assert 'pip install "eis-msgbus[cli]"' in " ".join(out.split())


def test_the_demo_needs_no_other_extra_when_it_starts() -> None:
    status, _, err = without_extra("demo", "--source", "no-such-film.mp4")
    assert (status, "typer" in err) == (2, False)
    assert "no-such-film.mp4" in err


@pytest.mark.parametrize(
    "command", [*sorted(COMMANDS.keys() - {"keys"}), *(f"keys {name}" for name in ("new", "show", "check"))]
)
def test_a_command_shows_examples_when_asked_for_help(command: str, tmp_path: Path) -> None:
    status, out, err = msgbus(tmp_path, *command.split(), "--help")
    assert (status, err) == (0, "")
    assert re.search(rf"Examples:\n\s+msgbus {command} ", out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_when_asked(shell: str, tmp_path: Path) -> None:
    words = {"COMP_WORDS": "msgbus re", "COMP_CWORD": "1"}
    typed = {"_TYPER_COMPLETE_ARGS": "msgbus re", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment = ENVIRONMENT | words | typed | {"_MSGBUS_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert "request" in done.stdout
    assert done.stderr == ""


def test_bash_completes_commands_when_completion_is_installed(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def bash(*script: str) -> str:
        done = subprocess.run(
            ["bash", "--norc", "-c", "\n".join(script)],
            cwd=tmp_path,
            env=ENVIRONMENT | home,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout

    # A shell that starts another program last becomes that program: the second command keeps it there, to be found.
    shown = bash("msgbus --show-completion", "true")
    assert "bash completion installed in" in bash("msgbus --install-completion", "true")
    (file,) = (tmp_path / ".bash_completions").iterdir()
    assert file.read_text().strip() == shown.strip()
    assert str(file) in (tmp_path / ".bashrc").read_text()
    typed = ("COMP_WORDS=(msgbus pub --bl)", "COMP_CWORD=2", "_msgbus_completion msgbus", 'echo "${COMPREPLY[@]}"')
    assert bash("source ~/.bashrc", "complete -p msgbus", *typed).splitlines()[1:] == ["--blob"]


def test_the_demo_is_explained_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("demo", "--help") == 0
    assert {"--source", "--seconds", "--tcp", "--output"} < set(capsys.readouterr().out.replace(",", " ").split())


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "inf"])
def test_seconds_are_refused_when_they_are_no_number_above_zero(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("demo", f"--seconds={seconds}") == 2
    assert f"expected a number of seconds above 0, got '{seconds}'" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["numpy", "PIL"])
def test_the_demo_says_what_to_install_when_an_extra_is_missing(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert status_of("demo") == 2
    assert capsys.readouterr().err == 'msgbus demo needs NumPy and Pillow: pip install "eis-msgbus[demo]"\n'


def test_the_demo_says_what_to_install_when_a_film_cannot_be_played(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert status_of("demo", "--source", "film.mp4") == 2
    assert 'pip install "eis-msgbus[demo,video]"' in capsys.readouterr().err


def test_the_demo_does_not_start_when_the_film_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("demo", "--source", "no-such-film.mp4") == 2
    assert "expected a film or a camera, got 'no-such-film.mp4', which is not there" in capsys.readouterr().err


def test_the_demo_does_not_start_when_the_output_is_no_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert status_of("demo", "--output", str(tmp_path / "file")) == 2
    assert "--output: expected a directory that can be written to" in capsys.readouterr().err


def test_a_process_of_the_demo_says_who_starts_it_when_started_by_hand() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eis.msgbus.tools.demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env=dict(os.environ),
    )
    assert (done.returncode, done.stderr) == (1, "a process of `msgbus demo`, which starts it\n")
