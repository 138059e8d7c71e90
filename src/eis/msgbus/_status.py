"""What state a connection is in, and who is told of it. Does not know what is connected."""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from collections.abc import Callable
from typing import Literal

__all__ = ["Listener", "LiveStatus", "State", "Status"]

State = Literal["listening", "connecting", "connected", "denied", "stalled", "reconnecting", "failed", "closed"]


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """Say what an endpoint's connection does, and why, as far as that is known.

    `endpoint` names it (`subscriber camera1`). `since` is when this began, in seconds of `time.time()`. A publisher or
    service is `listening`, or `failed` when it had to stop. A subscriber or requester is `connecting` until it first
    is `connected`, `denied` while it is refused, `stalled` when it is connected and no message has come for the
    time of `stalled_after`, and `reconnecting` after a loss. The last is `closed`.
    """

    endpoint: str
    state: State
    reason: str = ""
    since: float = dataclasses.field(default_factory=time.time)


Listener = Callable[[Status], object]


class LiveStatus:
    """Hold the status of one channel, and tell of its changes."""

    def __init__(self, state: State) -> None:
        self.now = Status("", state)
        self._lock = threading.RLock()
        self._listeners: tuple[weakref.WeakMethod[Listener], ...] = ()

    def change(self, state: State, reason: str = "") -> None:
        """Take notice of a change, and tell it in this thread; the caller holds no lock that a listener may want."""
        with self._lock:
            if (state, reason) == (self.now.state, self.now.reason):
                return
            self.now = now = Status("", state, reason)
        for reference in self._listeners:
            if (listener := reference()) is not None:
                listener(now)

    def listen(self, listener: Listener) -> None:
        """Call a bound method with every change from now on, in the thread that notices it; this keeps it not alive."""
        with self._lock:
            alive = [reference for reference in self._listeners if reference() is not None]
            self._listeners = (*alive, weakref.WeakMethod(listener))
