"""The shared memory of one publisher socket: made when somebody may use it, renewed when somebody may no longer."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.afterwards import Say
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.shared.descriptor import unpack
from eis.msgbus.transports.zmq.shared.hand_out import HandOut, hand_out_path
from eis.msgbus.transports.zmq.shared.pool import Loan, Pool
from eis.msgbus.transports.zmq.shared.readers import LARGEST_NOTICE, Reader

__all__ = ["Sharing"]

_WORTH_IT = 64 * 1024
"""Bytes from which on shared memory is faster than the socket; `python -m benchmarks inline` looks for the crossing."""

_log = logging.getLogger("eis.msgbus.zmq")


class Sharing:
    """Hand memory out to subscribers that `admits` lets in, and put frames into it. Whoever calls holds the lock.

    `full` counts the frames that found no room, and went through the socket. `through_zmq` returns how many messages
    of the topics that begin with a prefix went through ZeroMQ, the one counted that is being sent.
    """

    def __init__(
        self, plan: Plan, admits: Callable[[int, int, int], bool], say: Say, through_zmq: Callable[[bytes], int]
    ) -> None:
        assert plan.shared is not None
        self.full = 0
        self._plan, self._shared = plan, plan.shared
        self._admits, self._say, self._through_zmq = admits, say, through_zmq
        self._hand_out: HandOut | None = None
        self._failed = self._lends = False
        self._pool = self._new_pool()

    def _new_pool(self) -> Pool:
        shared = self._shared
        return Pool(shared.slots, shared.max_bytes, burst=shared.burst, made=self._made, hear=self.hear)

    def _made(self, memory: Any) -> None:
        assert self._hand_out is not None  # no memory is made before
        self._hand_out.offer(memory)

    def offered(self) -> bool:
        """Tell whether memory is handed out; begin with that if it has not begun."""
        if self._hand_out is None and not self._failed:
            self._begin()
        return self._hand_out is not None

    def _begin(self) -> None:
        assert self._plan.file is not None
        if (path := hand_out_path(self._plan.file)) is None:
            self._failed = True
            return
        try:
            self._hand_out = HandOut(path, self._plan.group, self._admits)
        except (MessageBusError, OSError) as error:
            self._failed = True
            text = "%s: frames go through the socket, not through shared memory: %s"
            self._say(_log.warning, text, self._plan.address, error)

    def serve(self, nonce: bytes, prefix: bytes) -> bool:
        """Hand the memory to who has said the nonce, and reads topics that begin with `prefix`; False if nobody has."""
        try:
            return self._hand_out is not None and self._hand_out.serve(nonce, prefix, lambda: self._through_zmq(prefix))
        except OSError:  # no descriptors are left: everything goes through the socket
            return False

    def mute(self, nonce: bytes) -> None:
        """Send no notices to who has said the nonce: it does not know of them."""
        assert self._hand_out is not None  # it was served
        self._hand_out.mute(nonce)

    def end(self, nonce: bytes) -> None:
        """Serve who has said the nonce no more: its subscription has ended."""
        if self._hand_out is not None:
            self._hand_out.end(nonce)

    def hear(self) -> None:
        """Take notice of what subscribers have read, and who of them is gone."""
        if self._hand_out is not None:
            for reader, said in self._hand_out.hear():
                for slot in self._pool.heard(reader, said):
                    reader.has_read(slot)

    def share(self, name: bytes, blobs: Sequence[Any]) -> bytes | None:
        """Return the descriptor of a topic's blobs, which are copied unless they are a loan.

        None: they are small, there is no room, or no hand-out, which has to know of each memory that is made.
        """
        if self._hand_out is None or sum(map(len, blobs)) < _WORTH_IT:
            return None
        readers, loan = self._readers(name), self._pool.lent(blobs)
        self._lends = loan is not None
        descriptor = self._pool.put(blobs, readers) if loan is None else self._pool.publish(loan, readers)
        self.full += descriptor is None
        return descriptor

    def _readers(self, name: bytes) -> tuple[Reader, ...]:
        return () if self._hand_out is None else self._hand_out.readers(name)

    def notify(self, name: bytes, count: int, descriptor: bytes, notice: bytes) -> bool:
        """Tell all `count` subscribers with which a topic's frames are shared of one, beside ZeroMQ.

        False: it has to go through ZeroMQ, to all of them; whoever was told all the same knows it by its number.
        """
        noticed = self._notify(name, count, descriptor, notice)
        self.hear()  # and a slot is taken: now nobody waits for it
        if self._lends:
            self._pool.prepare()
        return noticed

    def _notify(self, name: bytes, count: int, descriptor: bytes, notice: bytes) -> bool:
        readers = self._readers(name)
        may = len(notice) <= LARGEST_NOTICE
        if may and not self._are_settled(readers, count):
            self.hear()
            readers = self._readers(name)
            may = self._are_settled(readers, count)
        if may:
            for reader in readers:
                if not reader.notify(notice):
                    break
            else:
                return True
        for reader in readers:
            reader.sent(unpack(descriptor).slot, self._through_zmq(reader.prefix))
        return False

    def _are_settled(self, readers: Sequence[Reader], count: int) -> bool:
        """Tell whether these are all `count`, and have read all that went through ZeroMQ before this message."""
        prefix, before = None, 0
        for reader in readers:
            if reader.prefix != prefix:
                prefix, before = reader.prefix, self._through_zmq(reader.prefix) - 1
            if reader.settled != before:
                return False
        return len(readers) == count

    def lend(self, nbytes: int) -> Loan | None:
        """Lend memory to be filled in place; None if there is no room, it is not worth it, or nobody could read it."""
        self._lends = True
        return self._pool.loan(nbytes) if self._hand_out is not None and nbytes >= _WORTH_IT else None

    def renew(self) -> None:
        """Go on with other memory: who had the one before need not be let in any more."""
        self._pool.close()
        self._pool = self._new_pool()
        self._end_hand_out()
        self._failed = False

    def close(self) -> None:
        """Hand out no more. Who reads keeps what it reads."""
        self._pool.close()
        self._end_hand_out()

    def _end_hand_out(self) -> None:
        hand_out, self._hand_out = self._hand_out, None
        if hand_out is not None:
            with contextlib.suppress(OSError):
                hand_out.close()
