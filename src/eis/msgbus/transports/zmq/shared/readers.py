"""A subscriber that was handed the memory: what it is told on its connection, what it has read. Decides no way.

A message whose frame lies in shared memory can reach a subscriber in two ways: through ZeroMQ, or as a *notice* on the
connection to the hand-out, which is there at once. Messages are to be read in the order in which they were published.
So there are notices only for who is *settled*: who has read all that went through ZeroMQ. Whoever reads there of a
frame in shared memory says so, and what went that way before it has been read too.
"""

from __future__ import annotations

import socket
import sys

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.transports.zmq.shared.descriptor import READ

__all__ = ["LARGEST_NOTICE", "MEMORY", "Reader"]

MEMORY = b"\1"
"""What comes with the descriptor of a memory; no notice begins so."""

LARGEST_NOTICE = 8 * 1024
"""Bytes of a notice: header, descriptor and metadata. What is larger goes through ZeroMQ."""


class Reader:
    """Be the subscriber that said `nonce`: it reads frames of the topics that begin with `prefix`.

    Counts of messages are of those of its topics that went through ZeroMQ. It has read `settled` of them (None: it
    takes no notices).
    """

    __slots__ = ("_sent", "connection", "nonce", "prefix", "settled")

    def __init__(self, nonce: bytes, prefix: bytes, connection: socket.socket, settled: int) -> None:
        self.nonce, self.prefix = nonce, prefix
        self.connection = connection
        self.settled: int | None = settled
        self._sent: dict[int, int] = {}  # by the slot of a frame that went through ZeroMQ, its count

    def notify(self, notice: bytes) -> bool:
        """Send a notice; False if there is no room, or nobody any more. Never waits."""
        try:
            self.connection.send(notice)
        except OSError:
            return False
        return True

    def sent(self, slot: int, count: int) -> None:
        """Take notice that the frame in a slot went through ZeroMQ, as the last of so many messages."""
        self._sent[slot] = count

    def has_read(self, slot: int) -> None:
        """Take notice that it has read in ZeroMQ's message of the frame in a slot."""
        count = self._sent.pop(slot, 0)
        if self.settled is not None:
            self.settled = max(self.settled, count)

    def hear(self) -> bytes | None:
        """Return what it has said, a READ, or None; nothing (b""): it is gone, or says what no reader says."""
        try:
            said = self.connection.recv(READ.size + 1)
        except BlockingIOError:  # a signal handler that publishes heard it
            return None
        except ConnectionError:
            return b""
        return said if len(said) == READ.size else b""
