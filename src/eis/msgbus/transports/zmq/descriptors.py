"""How many files and connections the process may have open. Does not know who connects.

libzmq ends the process when a connection comes to a socket file, or a context is opened, and no descriptor is left.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import sys
import time

from eis.msgbus.exceptions import MessageBusError

__all__ = ["Alarm", "look_for_room", "raise_limit"]

_log = logging.getLogger("eis.msgbus.zmq")

_ENOUGH = 65536
_CONTEXT = 16  # more than a ZeroMQ context, its two threads and its first socket take
_ALARM = 0.8  # of the descriptors that the process may have
_WARN_EVERY = 10.0  # seconds


@functools.cache
def raise_limit() -> None:
    """Let the process have as many descriptors open as it may, up to 65536; once, so that a program may go back."""
    soft, hard = _limits()
    if soft < (wanted := min(hard, _ENOUGH)):
        with contextlib.suppress(ValueError, OSError):  # some systems have a lower limit that they do not tell
            _set_limits(int(wanted), hard)


def look_for_room() -> None:
    """Look whether a ZeroMQ context can be opened.

    Raises:
        MessageBusError: there are too few descriptors.
    """
    try:
        with contextlib.ExitStack() as held:
            for _ in range(_CONTEXT):
                held.callback(os.close, os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        expected = f"expected {_CONTEXT} descriptors for a context (raise ulimit -n)"
        raise MessageBusError(f"{expected}: {error.strerror}") from error


def _limits() -> tuple[float, float]:
    """Return how many descriptors the process may have, and up to how many it may raise that."""
    if sys.platform == "win32":
        return math.inf, math.inf
    try:
        import resource
    except ModuleNotFoundError:
        return math.inf, math.inf
    soft, hard = (
        math.inf if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, hard


def _set_limits(soft: int, hard: float) -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.RLIM_INFINITY if math.isinf(hard) else int(hard)))


class Alarm:
    """Warn when the descriptors run out. For one thread."""

    def __init__(self) -> None:
        self._raised = False
        self._warned = float("-inf")

    def look(self, descriptor: int, address: str) -> None:
        """Look at the descriptor of a new connection at `address`: the system gives the lowest number that is free."""
        limit, _ = _limits()
        if descriptor < _ALARM * limit:
            self._raised = False
        elif not self._raised and time.monotonic() - self._warned >= _WARN_EVERY:
            self._raised, self._warned = True, time.monotonic()
            _log.warning("%s: %d of %d descriptors are in use (raise ulimit -n)", address, descriptor + 1, limit)
