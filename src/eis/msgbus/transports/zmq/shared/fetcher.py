"""A subscriber's side of the hand-out: fetches memories, and leases what descriptors name. Never waits."""

from __future__ import annotations

import array
import contextlib
import socket
import sys
import threading

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared.accept import accept
from eis.msgbus.transports.zmq.shared.descriptor import READ, Descriptor, unpack
from eis.msgbus.transports.zmq.shared.lease import Lease, lease
from eis.msgbus.transports.zmq.shared.memory import Memory

__all__ = ["Fetcher"]

_MOST = 64  # memories whose frames have not come yet; a pool grows fewer times than that


class Fetcher:
    """Fetch from the hand-out at the other end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection: socket.socket | None = connection
        self._lock = threading.RLock()  # leases end in any thread
        self._memories: dict[tuple[int, int], Memory] = {}  # by epoch and number

    @classmethod
    def connect(cls, path: str, nonce: bytes) -> Fetcher | None:
        """Connect to the hand-out at `path`; None if there is none that this user can reach."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(path)
            connection.send(nonce)
        except OSError:
            connection.close()
            return None
        return cls(connection)

    @property
    def connected(self) -> bool:
        """Tell whether new memories can come; `take` notices when not. Without them ask for another form."""
        return self._connection is not None

    @property
    def slots(self) -> int:
        """Return how many frames the largest memory has, that is here."""
        return max((memory.shape.slots for memory in self._memories.values()), default=0)

    def take(self) -> None:
        """Take the memories that have come.

        Raises:
            InvalidMessage: one of them cannot be read without danger; from there none is taken any more.
        """
        try:
            while (descriptor := self._received()) is not None:
                self._keep(accept(descriptor))
        except BaseException:
            self._hang_up()
            raise

    def _keep(self, memory: Memory) -> None:
        self._memories[memory.shape.epoch, memory.shape.number] = memory
        if len(self._memories) > _MOST:
            raise InvalidMessage(f"expected at most {_MOST} shared memories, got one more")

    def lease(self, descriptor: bytes | memoryview) -> Lease | None:
        """Return the blobs that a descriptor names; None if they were overtaken, or lie in a memory that is not here.

        Raises:
            InvalidMessage: no publisher sends such a descriptor, or such a memory.
        """
        asked = unpack(descriptor)
        key = asked.epoch, asked.number
        if key not in self._memories:
            self.take()
        if (memory := self._memories.get(key)) is None:
            return None
        if len(self._memories) > 1:  # descriptors come in the order in which memories were made
            self._memories = {
                key: memory for key, memory in self._memories.items() if key >= (asked.epoch, asked.number)
            }
        return lease(memory, asked, self._say_read)

    def close(self) -> None:
        """Fetch no more. What is leased stays until it is let go of."""
        self._hang_up()
        self._memories.clear()

    def _say_read(self, frame: Descriptor) -> None:
        """Tell the publisher that it may use a slot again. It would do so anyway: this only says which one is best."""
        with self._lock, contextlib.suppress(OSError):
            if self._connection is not None:
                self._connection.send(READ.pack(frame.number, frame.slot, frame.generation))

    def _hang_up(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _received(self) -> int | None:
        """Return the descriptor that came next; None if there is none."""
        if self._connection is None:
            return None
        try:
            room = socket.CMSG_LEN(array.array("i").itemsize)
            data, ancillary, _, _ = self._connection.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except ConnectionError:
            data, ancillary = b"", []
        if not data:
            self._hang_up()
            return None
        descriptors = array.array("i")
        for _, _, content in ancillary:
            descriptors.frombytes(content)
        if len(descriptors) != 1:
            raise InvalidMessage(f"expected one descriptor, got {len(descriptors)}")
        return descriptors[0]
