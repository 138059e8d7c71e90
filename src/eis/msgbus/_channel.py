"""What a transport opens: the contract of channels. Does not know who waits for them, nor what goes through.

A channel never waits: it has descriptors to wait for, and somebody else does. What one needs to write a channel is
offered here.
"""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from eis.msgbus._status import LiveStatus
from eis.msgbus._waiting import Wakeup
from eis.msgbus._wire import Frames, Stamped
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.loan import Lent

__all__ = ["Channel", "Closed", "Counts", "Publishing", "Request", "Serving", "Waitable", "Wakeup", "at_the_end"]


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Count what went through a channel since it was opened.

    `sent` and `received` are messages. `dropped` are messages that were sent while a receiver's queue was full: 0, or
    an estimate of what it missed. `refused` are connections that access control turned away or that failed their
    handshake (on the side that binds), or refusals met (on the side that connects). `reconnects` are connections made
    again after a loss. `clients` are connections that were let in, by the names of clients, where there is a list.
    `skipped` are messages that gave way to newer ones before they were read. `unshared` are frames for which shared
    memory had no room, and which went through the socket. Of native streams: `lost` messages that
    were published and did not come, `restarts` of publishers, the last `latencies` in nanoseconds, and the `form` of
    the last message.
    """

    sent: int = 0
    received: int = 0
    dropped: int = 0
    refused: int = 0
    reconnects: int = 0
    clients: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    skipped: int = 0
    lost: int = 0
    restarts: int = 0
    latencies: Sequence[int] = ()
    form: str = ""
    unshared: int = 0


class Closed(MessageBusError):
    """Say that something was closed and can no longer be used."""


def at_the_end(owner: object, close: Callable[[], object]) -> weakref.finalize[Any, Any]:
    """Call `close` once: when asked to, when `owner` is dropped, or when the process ends."""
    return weakref.finalize(owner, _close_ours, os.getpid(), close)


def _close_ours(process: int, close: Callable[[], object]) -> None:
    """Close, unless this is a forked child: what it has is its parent's, locks that some thread held included."""
    if os.getpid() == process:
        close()


class Waitable(Protocol):
    """Be the channel of one endpoint. Nothing here waits; everything may be called from any thread.

    `status` is one object for the life of the channel, and the channel changes it, but for the end: who closes it
    tells of that.
    """

    status: LiveStatus

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors of which one becomes readable when a call that found nothing should try again."""

    def wake(self) -> None:
        """Make a descriptor readable, so that everybody who waits tries again."""

    def counts(self) -> Counts:
        """Return what was counted so far."""

    def close(self) -> None:
        """Release everything. Later calls of `send` and `receive` raise Closed; closing again is fine."""


class Channel(Waitable, Protocol):
    """Carry the frames of a publisher, a subscriber or a requester."""

    def send(self, frames: Frames) -> None:
        """Queue one message, or drop and count it where its receiver's queue is full.

        Raises:
            MessageBusError: this channel cannot send now, and says why.
            MessageBusAuthenticationFailed: the peer refused the connection (once for each refusal).
        """

    def receive(self) -> Sequence[Frames | Stamped]:
        """Return the messages that have arrived, oldest first: a bounded number of them, empty when there are none.

        Raises:
            MessageBusAuthenticationFailed: as in `send`.
            Disconnected: the peer went away while its reply was awaited.
        """


class Publishing(Channel, Protocol):
    """Carry the frames of a publisher, which knows its subscribers."""

    def subscribers(self) -> int:
        """Return how many subscriptions the topic has now."""

    def lend(self, nbytes: int) -> Lent | None:
        """Lend memory that subscribers share, to be filled and sent once; None if there is none now."""


Request = tuple[Frames, Any]
"""The frames of a request, and the way back: what its channel needs to answer it, a small thing of any kind."""


class Serving(Waitable, Protocol):
    """Carry the frames of a service, which may have received several requests before it answers the first."""

    def receive(self) -> Request | None:
        """Return the next request with its way back; None if none has come. The others stay in the queue."""

    def send(self, frames: Frames, way_back: Any) -> object:
        """Answer the request that came with `way_back`, or drop and count the reply where its client is gone.

        Raises:
            InvalidMessage: a part is larger than the client takes; nothing was sent.
        """
