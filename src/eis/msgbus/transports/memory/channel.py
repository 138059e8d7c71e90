"""What the channels of one hub have in common: a queue, a wakeup and a lock. Does not know who talks to whom."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eis.msgbus._channel import Closed, Counts, Wakeup
from eis.msgbus._status import LiveStatus, State
from eis.msgbus._wire import Frames

if TYPE_CHECKING:
    from eis.msgbus.transports.memory.requests import RequesterChannel, ServiceChannel
    from eis.msgbus.transports.memory.stream import PublisherChannel, SubscriberChannel

__all__ = ["QUEUE", "Hub", "HubChannel", "ReceivingChannel"]

QUEUE = 1000
"""Messages that wait for a receiver before further ones are dropped; the default of ZeroMQ."""


class Hub:
    """Know the channels that reach each other. Its lock guards all of them.

    The tuples are replaced, never changed: a forgotten channel is closed by the garbage collector, at any time, and so
    also while its thread goes through one of them.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.publishers: tuple[PublisherChannel, ...] = ()
        self.subscribers: tuple[SubscriberChannel, ...] = ()
        self.services: dict[str, ServiceChannel] = {}
        self.requesters: tuple[RequesterChannel, ...] = ()


class HubChannel:
    """Queue what arrives, and be woken by it."""

    _state: State = "listening"

    def __init__(self, hub: Hub, name: str) -> None:
        self.name = name
        self.status = LiveStatus(self._state)
        self.closed = False
        self._hub = hub
        self._wakeup = Wakeup()
        self._queue: deque[Any] = deque()
        self._sent = self._received = self._dropped = 0

    def put(self, message: Any) -> bool:
        """Queue a message; tell whether there was room. The caller holds the lock."""
        if len(self._queue) >= QUEUE:
            return False
        self._queue.append(message)
        self._wakeup.set()
        return True

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptor to wait for."""
        return (self._wakeup.fileno(),)

    def wake(self) -> None:
        """Make a wait return."""
        self._wakeup.set()

    def counts(self) -> Counts:
        """Return what was counted so far."""
        return Counts(sent=self._sent, received=self._received, dropped=self._dropped)

    def close(self) -> None:
        """Leave the hub."""
        with self._hub.lock:
            if self.closed:
                return
            self.closed = True
            self._leave()
            self._wakeup.close()

    def _leave(self) -> None:
        """Take this channel out of the hub."""

    def _check_open(self) -> None:
        if self.closed:
            raise Closed("closed")


class ReceivingChannel(HubChannel):
    """Hand out all that has arrived."""

    def receive(self) -> Sequence[Frames]:
        """Return what has arrived."""
        with self._hub.lock:
            self._check_open()
            self._wakeup.clear()
            messages = tuple(self._queue)
            self._queue.clear()
            self._received += len(messages)
            return messages
