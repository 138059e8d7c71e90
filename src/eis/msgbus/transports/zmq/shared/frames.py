"""The frames of a publisher's shared memory, for one subscriber: fetched when it is offered, leased by descriptors.

Notices of frames, which come beside ZeroMQ, are for who has read all that came through it before: from the publisher's
answer on, `begin`.
"""

from __future__ import annotations

import os
import select
import sys
import time

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus._channel import at_the_end
from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared.fetcher import Fetcher
from eis.msgbus.transports.zmq.shared.hand_out import NONCE_BYTES, hand_out_path
from eis.msgbus.transports.zmq.shared.lease import Lease

__all__ = ["SharedFrames"]

_AGAIN, _SOON = 1.0, 0.05  # seconds until a fetch is tried again that led to nothing; if nobody was there


class SharedFrames:
    """Fetch the memory of whoever publishes at the socket file `file`; a blob has `largest` bytes at most."""

    def __init__(self, file: str, largest: int) -> None:
        self._largest = largest
        self._path = hand_out_path(file)
        self._fetcher: Fetcher | None = None
        self.begun = False  # notices are taken
        self._try_at = float("-inf")
        self._arrivals = select.epoll()  # one descriptor to wait for, whatever becomes of the connection
        at_the_end(self, self._arrivals.close)  # not in `close`: somebody may wait for it

    @property
    def connected(self) -> bool:
        """Tell whether new memory of the publisher can come."""
        return self._fetcher is not None and self._fetcher.connected

    @property
    def slots(self) -> int:
        """Return how many frames may be on their way before one is overtaken."""
        return 0 if self._fetcher is None else self._fetcher.slots

    def fetch(self) -> bytes | None:
        """Connect to the hand-out; return the nonce to ask with, None if that is not possible, or was just tried."""
        if self._path is None or self.waits() or time.monotonic() < self._try_at:
            return None
        nonce = os.urandom(NONCE_BYTES)
        fetcher = Fetcher.connect(self._path, nonce)
        self._try_at = time.monotonic() + (_SOON if fetcher is None else _AGAIN)
        if fetcher is None:
            return None
        if self._fetcher is not None:
            fetcher.go_on(self._fetcher)
        self.close()
        self._fetcher = fetcher
        return nonce

    def unanswered(self) -> bool:
        """Tell whether the question that went with the nonce seems to be lost, or its answer."""
        return self._fetcher is not None and not self.begun and time.monotonic() >= self._try_at

    def begin(self) -> None:
        """Take notices, from now on."""
        if self._fetcher is not None and not self.begun:
            self._fetcher.tell(self._arrivals)
            self.begun = True

    def fileno(self) -> int:
        """Return the descriptor that is readable when a notice has come."""
        return self._arrivals.fileno()

    def waits(self) -> bool:
        """Tell whether a notice may be there, or the end of them."""
        return self.begun and self._fetcher is not None and self._fetcher.waits()

    def notice(self) -> bytes | None:
        """Return the next notice; None: none has come.

        Raises:
            InvalidMessage: what came is none.
        """
        return None if self._fetcher is None or not self.begun else self._fetcher.notice()

    def lease(self, descriptor: bytes, *, noticed: bool) -> Lease | None:
        """Return the blobs that a descriptor names, in a notice or a message of ZeroMQ; None: they are lost.

        Raises:
            InvalidMessage: no publisher sends such a descriptor.
        """
        lease = None if self._fetcher is None else self._fetcher.lease(descriptor, noticed=noticed)
        if lease is not None and max(map(len, lease.views)) > self._largest:
            lease.release()
            raise InvalidMessage(f"expected blobs of at most {self._largest} bytes in shared memory")
        return lease

    def close(self) -> None:
        """Let go of the memory. What is leased stays."""
        if self._fetcher is not None:
            self._fetcher.close()
            self._fetcher, self.begun = None, False
