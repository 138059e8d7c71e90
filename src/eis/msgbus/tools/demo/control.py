"""A child's side of its pipe: what it is told, and waiting that ends when the parent does. No messages, no pictures."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from eis.msgbus import ReceiveTimeout

_SLICE = 200
"""Milliseconds of waiting after which a child looks whether its parent wants it to end."""

T = TypeVar("T")


class DemoError(Exception):
    """Say what kept a process of the demo from doing its part."""


class AbortedError(Exception):
    """Say that the parent wants an end, now."""


class Control:
    """Know what the parent wants of this process: a thread reads its lines until the pipe ends."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.finishing = threading.Event()
        """Set when no new frames shall be made."""
        self.ended = threading.Event()
        """Set when everything is over, for good or ill."""
        self.orphaned = False
        """Whether the pipe ended without a word: the parent is gone."""
        threading.Thread(target=self._listen, args=(lines,), name="control", daemon=True).start()

    def patiently(self, step: Callable[[int], T], seconds: float, complaint: str) -> T:
        """Call `step(milliseconds)`, which may raise `ReceiveTimeout`, until it returns.

        Raises:
            AbortedError: the parent wants an end.
            DemoError: it did not return within `seconds`; the text is `complaint`.
        """
        deadline = time.monotonic() + seconds
        while not self.ended.is_set():
            try:
                return step(_SLICE)
            except ReceiveTimeout:
                if time.monotonic() >= deadline:
                    raise DemoError(f"{complaint} within {seconds:g} s") from None
        raise AbortedError

    def wait_for_end(self, seconds: float) -> None:
        """Wait until the parent has seen everybody through.

        Raises:
            DemoError: it has not within `seconds`.
        """
        if not self.ended.wait(seconds):
            raise DemoError(f"not told to end within {seconds:g} s")

    def _listen(self, lines: Iterator[bytes]) -> None:
        for line in lines:
            if line == b"finish":
                self.finishing.set()
            if line == b"end":
                break
        else:
            self.orphaned = True
        self.finishing.set()
        self.ended.set()


def read_lines(descriptor: int) -> Iterator[bytes]:
    """Yield the lines that come through a pipe, without their ends.

    `sys.stdin` would do, but a thread that waits in it keeps its lock, which Python wants at exit.
    """
    rest = b""
    while more := os.read(descriptor, 65536):
        *lines, rest = (rest + more).split(b"\n")
        yield from lines
