"""What its end, SIGTERM and a fork do to the open buses of a process. Does not know what a bus carries.

At a normal end they are closed before whatever was imported before the last of them has its own end: a transport's
library may let go of what is still to be sent.

SIGTERM ends a Python program without running anything of it: what was published would be lost on its way. So, where the
program left the signal as it was, its buses are closed first, and then the signal ends it as it would have.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

from eis.msgbus.exceptions import MessageBusError

__all__ = ["Inherited", "closing", "opened"]


class Open(Protocol):
    """Be something that a process has open."""

    def _close_endpoints(self) -> None:
        """Close the endpoints, and wait for nothing."""

    def close(self) -> None:
        """Close everything, and deliver what was sent."""

    def _be_inherited(self) -> None:
        """Be unusable: this process is a fork, and what is open is its parent's."""


class Inherited:
    """Stand in the place of what is the parent's: whatever it is asked for, it says so."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> NoReturn:
        raise MessageBusError(f"{self._what} was made before a fork: make a new context in the child process")


_open: weakref.WeakSet[Open] = weakref.WeakSet()
_installed = False
_closing: set[object] = set()  # one for each bus that is being closed, in whatever thread
_told_to_end = False


def opened(bus: Open) -> None:
    """Look after an open bus from now on."""
    _open.add(bus)
    atexit.unregister(_close_all)  # now it is the first to be called
    atexit.register(_close_all)
    _install()


@contextlib.contextmanager
def closing() -> Iterator[None]:
    """Deliver in here what is still to be sent: SIGTERM waits for it."""
    this = object()
    _closing.add(this)
    try:
        yield
    finally:
        _closing.discard(this)
        if _told_to_end and not _closing:
            _end()


def _install() -> None:
    """Answer SIGTERM, once in a process, unless the program does so itself."""
    global _installed  # noqa: PLW0603  # it is the process's
    if _installed or os.name == "nt" or threading.current_thread() is not threading.main_thread():
        return
    _installed = True
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        with contextlib.suppress(ValueError):  # a subinterpreter: signals are not its business
            signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: object) -> None:  # noqa: ARG001  # a signal handler's
    """Close every bus, then end as the signal would have."""
    global _told_to_end  # noqa: PLW0603
    _told_to_end = True
    _close_all()
    if not _closing:
        _end()


def _close_all() -> None:
    """Close every bus: all begin to deliver, then each has its time."""
    buses = tuple(_open)
    for step in (*(bus._close_endpoints for bus in buses), *(bus.close for bus in buses)):
        _do(step)


def _do(step: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):  # whatever it is: the others have something to deliver too
        step()


def _end() -> None:
    with contextlib.suppress(ValueError):  # not the main thread: there, `_terminate` comes once more
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _forked() -> None:
    """Be the child of a fork: nothing that is open is ours, and its locks may be held for ever."""
    global _told_to_end  # noqa: PLW0603
    _told_to_end = False
    _closing.clear()
    for bus in tuple(_open):
        bus._be_inherited()
    _open.clear()


register: Callable[..., object] = getattr(os, "register_at_fork", dict)  # Windows has no fork: nothing is registered
register(after_in_child=_forked)
