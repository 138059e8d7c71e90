"""The demo's processes, seen from their parent: start them, tell them, see them off. Does not know what they do."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

import msgspec

from eis.msgbus.tools.demo.messages import LOST
from eis.msgbus.tools.demo.settings import Settings

_FAREWELL = 8
"""Seconds that a process may take to end once it is told to."""


class Child:
    """Run one process. Its settings, secrets among them, go through its pipe, whose end is the end of the process."""

    def __init__(self, role: str, settings: Settings) -> None:
        self.role = role
        self.process = subprocess.Popen(  # noqa: S603  # our own interpreter and modules
            [sys.executable, "-P", "-m", "eis.msgbus.tools.demo", role],
            stdin=subprocess.PIPE,
            process_group=0,  # Ctrl-C in a terminal is for the parent alone, which then tells the others
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
        self.tell(msgspec.json.encode(settings))

    def tell(self, line: bytes) -> None:
        """Send it a line; nothing happens if it is gone."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self.process.poll()

    def end(self, deadline: float) -> None:
        """Tell it to end, and see that it does by `deadline` (monotonic)."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Say that it is over; a process that hears it ends."""
        assert self.process.stdin is not None
        self.tell(b"end")
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def complaint(self) -> str | None:
        """Return what is wrong with the way it ended, if anything is."""
        status = self.process.returncode
        if status is None or status == 0:
            return None
        if status == LOST:
            return f"{self.role} missed something: see its table"
        if status < 0:
            return f"{self.role} was killed by {signal.Signals(-status).name}"
        return f"{self.role} failed with exit status {status}"


class Troupe:
    """Run all processes, as a context: none is left when it ends."""

    def __init__(self, settings: Mapping[str, Settings]) -> None:
        self._settings = settings
        self._children: dict[str, Child] = {}

    def __enter__(self) -> "Troupe":
        try:
            for role, settings in self._settings.items():
                self._children[role] = Child(role, settings)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait(self, last: str, seconds: float) -> list[str]:
        """Wait until the process `last` is through, and return what went wrong before that."""
        deadline = time.monotonic() + seconds
        while all(child.status is None for child in self._children.values()):
            if time.monotonic() >= deadline:
                return [f"no end within {seconds:g} s"]
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._children[last].process.wait(0.2)
        early = [child for role, child in self._children.items() if role != last and child.status == 0]
        return [f"{child.role} ended before {last}" for child in early]

    def tell(self, role: str, line: bytes) -> None:
        """Send a process a line."""
        self._children[role].tell(line)

    def end(self) -> list[str]:
        """End all, and return what is wrong with the way they ended."""
        for child in self._children.values():
            child.close()
        deadline = time.monotonic() + _FAREWELL
        for child in self._children.values():
            child.end(deadline)
        return [complaint for child in self._children.values() if (complaint := child.complaint())]
