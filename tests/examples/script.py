"""A running example: its lines as they come, with deadlines, and Ctrl-C. Knows processes, not what they say."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE = 20.0  # seconds, for each line and each end


class Script:
    """Run `examples/NAME ARGUMENTS` in `folder`; whatever happens, it is gone at the end of the `with` block."""

    def __init__(self, folder: Path, name: str, *arguments: str | Path) -> None:
        self.output = ""
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)],
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def until(self, text: str) -> str:
        """Return the next line that holds `text`."""
        end = time.monotonic() + DEADLINE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"never printed {text!r}:\n{self.output}") from None
            assert line is not None, f"ended without printing {text!r}:\n{self.output}"
            self.output += line
            if text in line:
                return line

    def interrupt(self) -> None:
        """Do as somebody at the keyboard: press Ctrl-C, and again if nothing happens.

        What a signal handler raises while a destructor runs is lost, in every Python program.
        """
        for _ in range(3):
            if self._process.poll() is None:
                os.kill(self._process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(DEADLINE / 4)
                return

    def end(self) -> int:
        """Return the exit status of a script that ends by itself, or was interrupted."""
        try:
            status = self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {DEADLINE:g} s:\n{self.output}") from None
        self._reader.join()
        while line := self._lines.get():
            self.output += line
        return status
