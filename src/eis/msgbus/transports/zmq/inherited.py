"""What the child of a fork has of its parent's servers: it lets go of it. Does not know what is served.

A descriptor that the child keeps stays open when the parent closes it: the port would be taken, the connections would
not end. The child closes its own copies; the parent's, and what libzmq waits for with them, stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import weakref
from collections.abc import Collection
from typing import Any, Protocol

__all__ = ["Served", "let_go_after_fork"]

assert sys.platform != "win32"  # for mypy; nothing imports this there


class Served(Protocol):
    """Be a place where somebody listens."""

    def let_go(self) -> Collection[object]:
        """Close what only Python knows of, and return the local names of the listening socket: paths, or a port.

        A connection that was accepted has the name of the socket that it came to.
        """


_INTERNET = (socket.AF_INET, socket.AF_INET6)
_served: weakref.WeakSet[Served] = weakref.WeakSet()


def let_go_after_fork(served: Served) -> None:
    """Have the child of a fork let go of this place, as long as somebody refers to it."""
    _served.add(served)


def _forked() -> None:
    names = {name for served in tuple(_served) for name in served.let_go()}
    _served.clear()
    if names:
        for descriptor in map(int, os.listdir("/dev/fd")):
            if _local_name(descriptor) in names:
                os.close(descriptor)


def _local_name(descriptor: int) -> object:
    """Return the path or the port of a socket; None if it is no socket, or has neither."""
    with contextlib.suppress(OSError):  # no socket, or none any more
        found = socket.socket(fileno=descriptor)
        try:
            name: Any = found.getsockname()
            if found.family == socket.AF_UNIX:
                return name or None
            return name[1] if found.family in _INTERNET and found.type == socket.SOCK_STREAM else None
        finally:
            found.detach()
    return None


os.register_at_fork(after_in_child=_forked)
