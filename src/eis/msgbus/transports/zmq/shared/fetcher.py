"""A subscriber's side of the hand-out: fetches memories and notices, and leases what descriptors name. Never waits."""

from __future__ import annotations

import array
import select
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared.accept import accept
from eis.msgbus.transports.zmq.shared.descriptor import READ, THROUGH_ZMQ, Descriptor, unpack
from eis.msgbus.transports.zmq.shared.lease import Lease, lease
from eis.msgbus.transports.zmq.shared.memory import Memory
from eis.msgbus.transports.zmq.shared.readers import LARGEST_NOTICE, MEMORY

__all__ = ["Fetcher"]

_ROOM = socket.CMSG_LEN(array.array("i").itemsize)
_FLAGS = int(socket.MSG_CMSG_CLOEXEC)
_MOST_NOTICES = 4096  # more than a connection holds
_MOST = 64  # memories whose frames have not come yet; a pool grows fewer times than that


class Fetcher:
    """Fetch from the hand-out at the other end of a connection; `slots` is how many frames the largest memory has."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection: socket.socket | None = connection
        self._lock = threading.RLock()  # leases end in any thread
        self.slots = 0
        self._memories: dict[tuple[int, int], Memory] = {}  # by epoch and number
        self._former: dict[tuple[int, int], Memory] = {}
        self._notices: deque[bytes] = deque()  # that came before a memory which was looked for
        self._arrivals: select.epoll | None = None
        self._looks = select.poll()
        self._looks.register(connection, select.POLLIN)

    @classmethod
    def connect(cls, path: str, nonce: bytes) -> Fetcher | None:
        """Connect to the hand-out at `path`; None if there is none that this user can reach."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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

    def go_on(self, former: Fetcher) -> None:
        """Know the memories of the connection before, for frames that are on their way, until `tell`."""
        memories = {**former._former, **former._memories}
        self._former = dict(tuple(memories.items())[-_MOST:])  # whoever hands out may hang up again and again

    def tell(self, arrivals: select.epoll) -> None:
        """Have `arrivals` told when something has come, as long as the connection lasts. We were served."""
        self._former.clear()
        if self._connection is not None:
            self._arrivals = arrivals
            arrivals.register(self._connection, select.EPOLLIN)

    def waits(self) -> bool:
        """Tell whether a notice may be there, or the end of the connection."""
        return bool(self._notices) or (self._connection is not None and bool(self._looks.poll(0)))

    def notice(self) -> bytes | None:
        """Return the next notice; None: none has come.

        Raises:
            InvalidMessage: see `take`.
        """
        if self._notices:
            return self._notices.popleft()
        return self._received() if self._connection is not None and self._looks.poll(0) else None

    def take(self) -> None:
        """Take all that has come: memories, and notices, which are kept.

        Raises:
            InvalidMessage: one of them cannot be read without danger; from there nothing is taken any more.
        """
        while len(self._notices) < _MOST_NOTICES and (notice := self._received()) is not None:
            self._notices.append(notice)

    def _keep(self, memory: Memory) -> None:
        key = memory.shape.epoch, memory.shape.number
        if key in self._memories or len(self._memories) == _MOST:
            raise InvalidMessage(f"expected at most {_MOST} shared memories, each once, got one more")
        self._memories[key] = memory
        self.slots = max(self.slots, memory.shape.slots)

    def lease(self, descriptor: bytes | memoryview, *, noticed: bool = False) -> Lease | None:
        """Return the blobs that a descriptor names; None if they were overtaken, or lie in a memory that is not here.

        `noticed` says that it came in a notice, not in a message of ZeroMQ.

        Raises:
            InvalidMessage: no publisher sends such a descriptor, or such a memory.
        """
        asked = unpack(descriptor)
        key = asked.epoch, asked.number
        if key not in self._memories and key not in self._former:
            self.take()
        if (memory := self._memories.get(key) or self._former.get(key)) is None:
            return None
        if len(self._memories) > 1:  # descriptors come in the order in which memories were made
            self._memories = {
                key: memory for key, memory in self._memories.items() if key >= (asked.epoch, asked.number)
            }
        if not noticed:
            self._say(asked, THROUGH_ZMQ)
        return lease(memory, asked, self._say)

    def close(self) -> None:
        """Fetch no more. What is leased stays until it is let go of."""
        self._hang_up()
        self._notices.clear()
        self._memories.clear()
        self._former.clear()

    def _say(self, frame: Descriptor, through: int = 0) -> None:
        """Tell the publisher that it may use a slot again. It would do so anyway: this only says which one is best.

        With THROUGH_ZMQ, tell it instead that a message of ZeroMQ was read which names the frame.
        """
        with self._lock:
            if self._connection is not None and not self._former:  # nobody listens before we are served
                try:
                    self._connection.send(READ.pack(frame.number | through, frame.slot, frame.generation))
                except OSError:  # no room, or nobody any more
                    return

    def _hang_up(self) -> None:
        with self._lock:
            if self._connection is not None:
                if self._arrivals is not None:
                    self._arrivals.unregister(self._connection)  # the child of a fork may have it too
                self._connection.close()
                self._connection = None

    def _received(self) -> bytes | None:
        """Return the notice that came next, None if there is none; take the memories before it."""
        try:
            while self._connection is not None:
                data, ancillary, _, _ = self._connection.recvmsg(LARGEST_NOTICE + 1, _ROOM, _FLAGS)
                if data != MEMORY and not ancillary and 0 < len(data) <= LARGEST_NOTICE:
                    return data
                self._take_other(data, ancillary)
        except BlockingIOError:
            pass
        except ConnectionError:  # told once, and before what has come: the other end has not read all that we said
            return self._received()
        except BaseException:
            self._hang_up()
            raise
        return None

    def _take_other(self, data: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> None:
        """Take a memory, or the end of the connection."""
        if not data and not ancillary:
            self._hang_up()
            return
        if len(data) > LARGEST_NOTICE and not ancillary:
            raise InvalidMessage(f"expected a notice of at most {LARGEST_NOTICE} bytes, got more")
        descriptors = array.array("i")
        for _, _, content in ancillary:
            descriptors.frombytes(content)
        if len(descriptors) != 1:
            raise InvalidMessage(f"expected one descriptor, got {len(descriptors)}")
        self._keep(accept(descriptors[0]))
