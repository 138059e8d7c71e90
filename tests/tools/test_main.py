import os
import subprocess
import sys
from pathlib import Path

import pytest

from eis.msgbus.tools import main

DEADLINE = 30


def status_of(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def test_the_version_is_told_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--version") == 0
    assert capsys.readouterr().out.startswith("msgbus ")


def test_the_version_is_told_when_numpy_and_pillow_are_missing() -> None:
    program = (
        "import sys; sys.modules.update(numpy=None, PIL=None); import eis.msgbus.tools as t; t.main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert done.stdout.startswith("msgbus ")


def test_the_commands_are_named_when_none_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of() == 2
    assert "COMMAND" in capsys.readouterr().err


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
