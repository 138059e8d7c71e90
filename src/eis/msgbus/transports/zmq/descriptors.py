"""How many files and connections the process may have open. Does not know who connects.

libzmq ends the process when a connection comes to a socket file and no descriptor is left for it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import time

__all__ = ["Alarm", "raise_limit"]

_log = logging.getLogger("eis.msgbus.zmq")

_ENOUGH = 65536
_ALARM = 0.8  # of the descriptors that the process may have
_WARN_EVERY = 10.0  # seconds

if sys.platform == "win32":

    def raise_limit() -> None:
        """Leave it: there is no limit to raise."""

    def _limit() -> float:
        return float("inf")

else:
    import resource

    @functools.cache
    def raise_limit() -> None:
        """Let the process have as many descriptors open as it may, up to 65536; once, so that a program may go back."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with contextlib.suppress(ValueError, OSError):  # some systems have a lower limit that they do not tell
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    def _limit() -> float:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return float("inf") if soft == resource.RLIM_INFINITY else soft


class Alarm:
    """Warn when the descriptors run out. For one thread."""

    def __init__(self) -> None:
        self._raised = False
        self._warned = float("-inf")

    def look(self, descriptor: int, address: str) -> None:
        """Look at the descriptor of a new connection at `address`: the system gives the lowest number that is free."""
        limit = _limit()
        if descriptor < _ALARM * limit:
            self._raised = False
        elif not self._raised and time.monotonic() - self._warned >= _WARN_EVERY:
            self._raised, self._warned = True, time.monotonic()
            _log.warning("%s: %d of %d descriptors are in use (raise ulimit -n)", address, descriptor + 1, limit)
