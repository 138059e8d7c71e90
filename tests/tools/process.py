"""The command as a user starts it: a process with streams, deadlines and an end. Knows no command."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEADLINE = 40.0  # seconds; a busy machine is no bug
COMMAND = [sys.executable, "-W", "error", "-m", "eis.msgbus"]
ENVIRONMENT = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "100"}


class Started:
    """A command that runs; it is gone at the end of the `with` block."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def error_line(self) -> str:
        """Wait for the next line on stderr."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def line(self) -> str:
        """Wait for the next line on stdout."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def interrupted(self) -> tuple[int, str, str]:
        """Press Ctrl-C, and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> tuple[int, str, str]:
        """Wait for the end; the status, and what is left on stdout and stderr."""
        out, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, out, err


@contextmanager
def started(folder: Path, *arguments: str | Path) -> Iterator[Started]:
    command = Started(folder, *arguments)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.communicate(timeout=DEADLINE)


def msgbus(folder: Path, *arguments: str | Path, stdin: str = "") -> tuple[int, str, str]:
    """Run a command to its end; its status, stdout and stderr."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
