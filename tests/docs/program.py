"""A program that a page of the documentation starts. Knows processes and deadlines, not Markdown."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path


class ProgramFailed(Exception):
    """It ended badly or not in time; the message says how, and what it printed."""


class Program:
    """A started command: its output is read as it comes; whatever it started ends with it."""

    def __init__(self, command: list[str], folder: Path, until: str | None = None) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._until, self._output, self._told = until, "", threading.Event()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that it ends together with its children
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._output += line
                if self._until and self._until in line:
                    self._told.set()
        self._told.set()

    @property
    def output(self) -> str:
        """Return what it has printed so far."""
        return self._output

    def do_its_work(self, deadline: float) -> None:
        """Wait for the text that it shall print, or else for its end; raise `ProgramFailed` for any other course."""
        if not self._until:
            self._end_well(deadline)
        elif not self._told.wait(deadline) or self._until not in self._output:
            raise ProgramFailed(f"never printed {self._until!r}\n{self._output}")

    def _end_well(self, deadline: float) -> None:
        try:
            code = self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"still runs after {deadline:g} s\n{self._output}") from None
        self._reader.join(1)  # not for ever: something that it left running may hold the pipe
        if code:
            raise ProgramFailed(f"exited with {code}\n{self._output}")

    def close(self) -> None:
        for end in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, end)
                self._process.wait(5)
        self._reader.join()
