"""How many messages may wait in a queue, so that they stay within so many bytes. Does not know whose they are.

A queue of libzmq counts messages, and its reader tells its writer what was read each time when the number of messages
is a multiple of half the queue's length. If the length changes at another time than here, a writer may wait for ever
for a word from a reader who has read all: above all, a queue that is in use cannot be made shorter.
"""

from __future__ import annotations

import logging

import zmq

__all__ = ["MOST", "SHORTEST", "Queue", "fitting"]

_log = logging.getLogger("eis.msgbus.zmq")

SHORTEST = 2
"""Messages."""

MOST = 1024
"""Messages, where nothing else says less."""


def fitting(size: int, budget: int, read: int) -> int:
    """Return how many messages of `size` bytes fit into `budget`: a power of two.

    It is the length for a queue of which `read` messages were read, the first ones, and none of them was told.
    """
    return 1 << (max(SHORTEST, 2 * read, budget // max(1, size)).bit_length() - 1)


class Queue:
    """Say how long the queues of a publisher are, one for each connection: as long as needed, and as `budget` allows.

    `budget` is in bytes. Whoever calls may touch the socket.
    """

    def __init__(self, socket: zmq.Socket[bytes], budget: int) -> None:
        self.messages = SHORTEST
        self.largest = 1
        self._socket, self._budget = socket, budget
        self._warned = False

    def notice(self, size: int, place: str) -> None:
        """Take notice of a message of `size` bytes; warn once if the queue is too long for such by now."""
        self.largest = max(self.largest, size)
        if self.messages > SHORTEST and size * self.messages > self._budget and not self._warned:
            self._warned = True
            text = "%s: up to %d messages of %d bytes may wait for one subscriber, more than queue_bytes (%d): "
            text += "small ones came before, and large ones on the same socket have no shorter queue"
            _log.warning(text, place, self.messages, size, self._budget)

    def renew(self) -> None:
        """Give the queues of all connections their length: one that came later begins with a short one."""
        self._socket.set(zmq.SNDHWM, self.messages)

    def grow(self, size: int) -> bool:
        """Make the queues longer if messages of `size` bytes may be so many; tell whether they are longer now."""
        self.largest = max(self.largest, size)
        if self.messages * 2 > min(MOST, self._budget // self.largest):
            return False
        self._socket.set(zmq.SNDHWM, self.messages * 2)  # then the number: a signal may come in between
        self.messages *= 2
        return True
