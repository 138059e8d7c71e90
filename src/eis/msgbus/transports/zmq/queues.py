"""How many messages may wait in a queue, so that they stay within so many bytes. Does not know whose they are.

A queue of libzmq counts messages, and its reader tells its writer what was read each time when the number of messages
is a multiple of half the queue's length. If the length changes at another time than here, a writer may wait for ever
for a word from a reader who has read all: a queue that is in use cannot be made shorter, and a full one whose writer
waits for that word already can be made twice as long, not longer, before it has come.

And libzmq tells a new length to the other end of every connection, even to one that it has freed: from the moment at
which the socket takes notice of a connection's end until it hears that the other end is gone, a new length ends the
process, or corrupts its memory. So `set_length` waits until nothing is between the socket and its connections.
"""

from __future__ import annotations

import logging
import sys

import zmq

from eis.msgbus._waiting import poller
from eis.msgbus.transports.zmq.afterwards import Say, at_once

__all__ = ["MOST", "SHORTEST", "ReceiveQueue", "SendQueue", "fitting", "is_quiet", "set_length"]

_log = logging.getLogger("eis.msgbus.zmq")

SHORTEST = 2
"""Messages."""

MOST = 1024
"""Messages, where nothing else says less."""

_NOWHERE = "tcp://127.0.0.1:9" if sys.platform == "win32" else "ipc:///dev/null/nobody"
_PATIENCE = 2.0  # seconds for one answer of the I/O thread: microseconds, 0.3 seconds while hundreds shake hands
_LOOKS = 16  # what readers report while the socket waits is soon over: it sends them nothing


def set_length(socket: zmq.Socket[bytes], option: int, length: int) -> bool:
    """Set SNDHWM or RCVHWM, of connections too, if no connection is about to end; tell whether it is done.

    Whoever calls may touch the socket.
    """
    if not is_quiet(socket):
        return False
    socket.set(option, length)
    return True


def is_quiet(socket: zmq.Socket[bytes]) -> bool:
    """Let the connections that are about to end do so; tell whether the socket has nothing more to learn from them.

    The I/O thread answers in the order in which it is asked. Once it has answered what comes after the socket's own
    words to it, all its answers to the socket have come; if there was none, every connection has both its ends, and
    keeps them until the socket takes notice of what comes then.
    """
    stirred = poller((int(socket.FD),))
    try:
        for _ in range(_LOOKS):
            socket.get(zmq.EVENTS)  # takes notice of everything
            if not _io_thread_answers(socket.context):
                return False
            if not stirred(0):
                return True
    except zmq.ZMQError:  # no descriptor is left, or the context is closed
        pass
    return False


def _io_thread_answers(context: zmq.Context[zmq.Socket[bytes]]) -> bool:
    """Wait until the I/O thread has done all that it was asked for: it takes a connection to nowhere back."""
    with context.socket(zmq.DEALER) as asking:
        asking.connect(_NOWHERE)
        asking.disconnect(_NOWHERE)
        return poller((int(asking.FD),))(_PATIENCE)


def fitting(size: int, budget: int, read: int) -> int:
    """Return how many messages of `size` bytes fit into `budget`: a power of two.

    It is the length for a queue of which at most `read` messages were read, the first ones, and none of them was told.
    """
    return 1 << (max(SHORTEST, 2 * read, budget // max(1, size)).bit_length() - 1)


class SendQueue:
    """Say how long the queues of a publisher are, one for each connection: as long as needed, and as `budget` allows.

    `budget` is in bytes. Whoever calls may touch the socket.
    """

    def __init__(self, socket: zmq.Socket[bytes], budget: int, say: Say = at_once) -> None:
        self.messages = SHORTEST
        self.largest = 1
        self.uneven = False  # a connection may have come since, and begins with a short queue
        self._socket, self._budget = socket, budget
        self._say = say
        self._warned = False

    def notice(self, size: int, place: str) -> None:
        """Take notice of a message of `size` bytes; warn once if the queue is too long for such by now."""
        self.largest = max(self.largest, size)
        if self.messages > SHORTEST and size * self.messages > self._budget and not self._warned:
            self._warned = True
            text = "%s: up to %d messages of %d bytes may wait for one subscriber, more than queue_bytes (%d): "
            text += "small ones came before, and large ones on the same socket have no shorter queue"
            self._say(_log.warning, text, place, self.messages, size, self._budget)

    def lengthen(self, size: int) -> None:
        """Make the queues longer if messages of `size` bytes may be so many, and those as long that began later."""
        self.largest = max(self.largest, size)
        grows = self.messages * 2 <= min(MOST, self._budget // self.largest)
        if not grows and not self.uneven:
            return
        length = self.messages * 2 if grows else self.messages
        if set_length(self._socket, zmq.SNDHWM, length):  # then the number: a signal may come in between
            self.messages, self.uneven = length, False


class ReceiveQueue:
    """Say how long the queue of a subscriber is: as its first messages allow, and then as shared frames need.

    `budget` is in bytes, `most` in messages, 0: any. It has its length when that is not 0: of so many `messages`.
    Whoever calls may touch the socket. `read` is how many messages were read so far, as libzmq counts them; `slots` how
    many descriptors of frames there has to be room for: they are small, and many are on their way, and if their
    publisher ends while the queue is full, libzmq loses what the system still holds.
    """

    def __init__(self, budget: int, most: int) -> None:
        self.messages = 0
        self._budget, self._most = budget, most
        self._read = 0  # when it got its length

    def fit(self, socket: zmq.Socket[bytes], size: int, read: int, slots: int, *, unseen: int = 0) -> None:
        """Give it its length, by the first messages, which have `size` bytes at most.

        libzmq has read them too, `unseen` more at most, and the next it has in hand, maybe.
        """
        length = max(fitting(size, self._budget, read + unseen + 1), self._for_frames(slots))
        if self._most and length >= self._most:
            self.messages = self._most  # it had that from the beginning
        elif set_length(socket, zmq.RCVHWM, length):
            self.messages = length
        self._read = read

    def lengthen(self, socket: zmq.Socket[bytes], read: int, slots: int) -> bool:
        """Double it, if that is too short for the frames, and has been read through since it got its length.

        Tell whether that was tried: it may have made the socket's descriptor quiet.
        """
        length = self.messages * 2
        if length > self._for_frames(slots) or read - self._read < self.messages:
            return False
        if set_length(socket, zmq.RCVHWM, length):
            self.messages, self._read = length, read
        return True

    def _for_frames(self, slots: int) -> int:
        """Return the length with room for so many descriptors, a power of two."""
        length = 1 << (slots - 1).bit_length() if slots else 0
        return min(length, self._most) if self._most else length
