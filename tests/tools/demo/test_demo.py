"""The whole demo, as a user starts it."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.tools.demo.films import film

DEADLINE = 50
SIGNALS_ONLY_ON_UNIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
PROC = Path("/proc")


class Demo:
    """A demo in a process of its own; its temporary files go to `tmp`, its output to `output`."""

    def __init__(self, tmp: Path, output: Path, *arguments: str, stdout: int = subprocess.PIPE) -> None:
        self.tmp, self.output = tmp, output
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eis.msgbus", "demo", "--output", str(output), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp), "PYTHONUNBUFFERED": "1"},
        )

    def plays(self) -> None:
        """Wait for the first figures."""
        assert self.process.stdout is not None
        assert "frames/s" in self.process.stdout.readline()

    def result(self) -> tuple[int, str, str]:
        """Wait until all of its processes have closed their standard error, and so have ended."""
        try:
            out, err = self.process.communicate(timeout=DEADLINE)
        finally:
            self.kill()
        return self.process.returncode, out, err

    def child(self, role: str) -> int:
        """The process id of a child."""
        pid = self.process.pid
        for child in (PROC / f"{pid}/task/{pid}/children").read_text().split():
            if (PROC / child / "cmdline").read_bytes().rstrip(b"\0").endswith(role.encode()):
                return int(child)
        raise AssertionError(f"{role} does not run")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.output.iterdir())

    @property
    def lost(self) -> int:
        lost: int = json.loads((self.output / "table.json").read_text())["lost"]
        return lost


@contextmanager
def demo(tmp: Path, output: Path, *arguments: str) -> Iterator[Demo]:
    playing = Demo(tmp, output, *arguments)
    try:
        yield playing
    finally:
        playing.kill()
        for stream in (playing.process.stdout, playing.process.stderr):
            assert stream is not None
            stream.close()


LEFT = ["frame.png", "table.json", "table.txt"]


@pytest.mark.parametrize("mode", ["zmq_ipc", "zmq_tcp"])
def test_nothing_is_lost_when_the_scene_is_played(mode: str, tmp_path: Path, socket_dir: Path) -> None:
    tcp = ["--tcp"] if mode == "zmq_tcp" else []
    with demo(socket_dir, tmp_path / "left", "--seconds", "2", *tcp) as playing:
        status, out, err = playing.result()
    assert (status, [line for line in err.splitlines() if ": plain text, without keys: " not in line]) == (0, [])
    assert f"frames over {mode}" in out
    assert playing.lost == 0
    assert playing.left == LEFT
    assert list(socket_dir.iterdir()) == []


def test_the_picture_has_boxes_when_the_scene_is_played(tmp_path: Path, socket_dir: Path) -> None:
    with demo(socket_dir, tmp_path, "--seconds", "1") as playing:
        assert playing.result()[0] == 0
    with Image.open(tmp_path / "frame.png") as picture:
        assert picture.size == (1920, 1080)
        assert (70, 220, 130) in {colour for _, colour in picture.getcolors(1 << 22) or []}


@pytest.mark.parametrize("size", [(1920, 1080), (322, 200)])
def test_a_film_is_played_to_its_end_when_no_seconds_are_given(
    size: tuple[int, int], tmp_path: Path, socket_dir: Path
) -> None:
    clip = film(tmp_path / "film.avi", 45, width=size[0], height=size[1])
    with demo(socket_dir, tmp_path / "left", "--source", str(clip)) as playing:
        status, out, err = playing.result()
    assert (status, err) == (0, "")
    assert "nothing lost: 45 frames, 45 results" in out
    assert f"{size[0]} x {size[1]} frames" in out
    with Image.open(tmp_path / "left" / "frame.png") as picture:
        assert picture.size == size


def test_a_film_is_cut_when_the_seconds_are_over(tmp_path: Path, socket_dir: Path) -> None:
    clip = film(tmp_path / "film.avi", 60, width=320, height=200)
    with demo(socket_dir, tmp_path / "left", "--source", str(clip), "--seconds", "0.5") as playing:
        assert playing.result()[0] == 0
    assert json.loads((tmp_path / "left/table.json").read_text())["processes"]["ingestion"]["frames"] <= 15


def test_the_demo_fails_with_a_word_when_the_film_is_none(tmp_path: Path, socket_dir: Path) -> None:
    text = tmp_path / "film.mp4"
    text.write_text("no film")
    with demo(socket_dir, tmp_path / "left", "--source", str(text)) as playing:
        status, _, err = playing.result()
    assert status == 1
    assert f"msgbus demo: ingestion: expected a film or camera that OpenCV can open, got '{text}'\n" in err
    assert err.endswith("msgbus demo: ingestion failed with exit status 1\n")
    assert "Traceback" not in err


@SIGNALS_ONLY_ON_UNIX
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_properly_when_interrupted(ending: signal.Signals, tmp_path: Path, socket_dir: Path) -> None:
    with demo(socket_dir, tmp_path, "--seconds", "1000") as playing:
        playing.plays()
        playing.process.send_signal(ending)
        status, out, err = playing.result()
    assert (status, err) == (0, "")
    assert "nothing lost" in out
    assert playing.left == LEFT
    assert list(socket_dir.iterdir()) == []


@pytest.mark.skipif(not PROC.is_dir(), reason="finds the children through /proc")
@pytest.mark.parametrize("role", ["ingestion", "analytics", "viewer"])
def test_the_demo_fails_and_says_who_when_a_process_is_killed(role: str, tmp_path: Path, socket_dir: Path) -> None:
    with demo(socket_dir, tmp_path, "--seconds", "1000") as playing:
        playing.plays()
        os.kill(playing.child(role), signal.SIGKILL)
        status, _, err = playing.result()
    assert (status, err) == (1, f"msgbus demo: {role} was killed by SIGKILL\n")
    assert list(socket_dir.iterdir()) == []


@SIGNALS_ONLY_ON_UNIX
def test_no_process_and_no_file_is_left_when_the_parent_is_killed(tmp_path: Path, socket_dir: Path) -> None:
    with demo(socket_dir, tmp_path, "--seconds", "1000") as playing:
        playing.plays()
        playing.process.kill()
        status, _, err = playing.result()  # comes back when the last child has ended
    assert (status, err) == (-signal.SIGKILL, "")
    assert list(socket_dir.iterdir()) == []


@pytest.mark.skipif(not PROC.is_dir(), reason="looks into /proc")
def test_no_secret_is_on_a_command_line_or_in_an_environment(tmp_path: Path, socket_dir: Path) -> None:
    with demo(socket_dir, tmp_path, "--seconds", "1000") as playing:
        playing.plays()
        for role in ("ingestion", "analytics", "viewer"):
            place = PROC / str(playing.child(role))
            assert b"key" not in (place / "cmdline").read_bytes()
            assert b"secret_key" not in (place / "environ").read_bytes()
        playing.process.send_signal(signal.SIGINT)
        assert playing.result()[0] == 0


@SIGNALS_ONLY_ON_UNIX
def test_the_table_is_renewed_in_place_when_shown_on_a_terminal(tmp_path: Path, socket_dir: Path) -> None:
    ours, theirs = pty.openpty()
    playing = Demo(socket_dir, tmp_path, "--seconds", "3", stdout=theirs)
    os.close(theirs)
    shown = b"".join(_read_all(ours))
    os.close(ours)
    assert playing.result()[0] == 0
    assert shown.count(b"\x1b[") >= 2
    assert b"nothing lost" in shown.rpartition(b"\x1b[J")[2]


def _read_all(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(descriptor, 65536)
        except OSError:  # how Linux says that nobody has the terminal open any more
            return
