"""The frames of a publisher's shared memory, for one subscriber: fetched when it is offered, leased by descriptors."""

from __future__ import annotations

import os
import sys
import time

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared.fetcher import Fetcher
from eis.msgbus.transports.zmq.shared.hand_out import NONCE_BYTES, hand_out_path
from eis.msgbus.transports.zmq.shared.lease import Lease

__all__ = ["SharedFrames"]

_AGAIN = 1.0  # seconds until a fetch is tried again that led to nothing


class SharedFrames:
    """Fetch the memory of whoever publishes at the socket file `file`; a blob has `largest` bytes at most."""

    def __init__(self, file: str, largest: int) -> None:
        self._largest = largest
        self._path = hand_out_path(file)
        self._fetcher: Fetcher | None = None
        self._tried = float("-inf")

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
        if self._path is None or time.monotonic() - self._tried < _AGAIN:
            return None
        self._tried = time.monotonic()
        nonce = os.urandom(NONCE_BYTES)
        if (fetcher := Fetcher.connect(self._path, nonce)) is None:
            return None
        self.close()
        self._fetcher = fetcher
        return nonce

    def lease(self, descriptor: bytes) -> Lease | None:
        """Return the blobs that a descriptor names; None: they are lost.

        Raises:
            InvalidMessage: no publisher sends such a descriptor.
        """
        lease = None if self._fetcher is None else self._fetcher.lease(descriptor)
        if lease is not None and any(view.nbytes > self._largest for view in lease.views):
            lease.release()
            raise InvalidMessage(f"expected blobs of at most {self._largest} bytes in shared memory")
        return lease

    def close(self) -> None:
        """Let go of the memory. What is leased stays."""
        if self._fetcher is not None:
            self._fetcher.close()
            self._fetcher = None
