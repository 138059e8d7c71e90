"""The publisher's slots: filled by copying or in place, used again when nobody reads them. Does not know who reads.

A slot that somebody reads is passed over, whatever was said: the kernel's locks decide. Nobody waits: if there is no
slot the caller sends through the socket.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus._config import SharedMemory
from eis.msgbus.transports.zmq.shared import memory as memories
from eis.msgbus.transports.zmq.shared.descriptor import READ, THROUGH_ZMQ, layout, pack
from eis.msgbus.transports.zmq.shared.memory import MOST_SLOTS, PAGE, Memory, Shape
from eis.msgbus.transports.zmq.shared.turns import Turns

__all__ = ["Loan", "Pool"]

_FEWEST = 2  # one may be read while the other is written
_SMALLEST = 16 * PAGE
_MOST_HEADER = Shape(0, 0, MOST_SLOTS, 0).begin
_STEPS = 8  # in which slots grow, between a power of two and the next: at most an eighth is left over


class _Taken:
    """Have a slot alone, until it is unlocked, and among those that are over at the end."""

    __slots__ = ("_locked", "_over", "memory", "slot")

    def __init__(self, memory: Memory, over: deque[int], slot: int) -> None:
        self.memory, self.slot = memory, slot
        self._over = over
        self._locked = True

    def unlock(self) -> None:
        """Let others read."""
        if self._locked:
            self._locked = False
            self.memory.unlock(self.slot)

    def end(self) -> None:
        """Let others read, and the pool use it again."""
        self.unlock()
        self._over.append(self.slot)

    def descriptor(self, sizes: tuple[int, ...]) -> bytes:
        """Return the descriptor of what lies in the slot."""
        shape = self.memory.shape
        return pack(shape.epoch, shape.number, self.slot, self.memory.generations[self.slot], sizes)


class Loan:
    """Lend a slot to be filled in place: `view` can be written to until it is published, and must not be after that.

    The slot is used again when neither the loan nor anything made from its view is there any more.
    """

    __slots__ = ("__weakref__", "published", "taken", "view")

    def __init__(self, taken: _Taken, nbytes: int) -> None:
        self.taken = taken
        self.published = False
        array: Any = taken.memory.slot(taken.slot, taken.end)
        array.loan = weakref.ref(self)
        self.view = memoryview(array).cast("B")[:nbytes]


class Pool:
    """Own `slots` slots of at most `max_bytes` together; for one thread at a time, loans may end in any.

    Where slots are small there are more of them, so that `burst` bytes can be on their way.

    There is no memory before it is needed. When a message is larger than the slots, new ones are made; `made` is told
    each new memory before there is a descriptor of a frame in it, `hear` is called for news of the readers, which come
    through `heard`. Of very large messages there are fewer slots. `full` counts the messages that got none.
    """

    def __init__(
        self,
        slots: int = SharedMemory.slots,
        max_bytes: int = SharedMemory.max_bytes,
        *,
        burst: int = 0,
        epoch: int | None = None,
        made: Callable[[Memory], object] = lambda _: None,
        hear: Callable[[], object] = lambda: None,
    ) -> None:
        self.full = 0
        self._slots = min(slots, MOST_SLOTS)
        self._burst = burst
        self._max_bytes = max_bytes
        self._epoch = int.from_bytes(os.urandom(8)) if epoch is None else epoch
        self._made = made
        self._hear = hear
        self._memory: Memory | None = None
        self._number = 0
        self._turns = Turns(0)
        self._retired: list[Memory] = []
        self._ahead: _Taken | None = None  # for the next message

    @property
    def nbytes(self) -> int:
        """Return how many bytes the memory has that is there now; what was never written takes none."""
        current = () if self._memory is None else (self._memory,)
        return sum(memory.shape.size for memory in (*current, *self._retired))

    def put(self, blobs: Sequence[Any], readers: Collection[Hashable] = ()) -> bytes | None:
        """Copy blobs, flat buffers of bytes, into a slot and return their descriptor; None if there is no room."""
        sizes = tuple([len(blob) for blob in blobs])
        nbytes, places = layout(sizes)
        if (taken := self._take(nbytes)) is None:
            return None
        try:
            begin = taken.memory.begin(taken.slot)
            slot = taken.memory.whole[begin : begin + nbytes]
            for blob, place in zip(blobs, places, strict=True):
                slot[place] = blob
            self._turns.sent(taken.slot, readers)
            return taken.descriptor(sizes)
        finally:
            taken.end()

    def loan(self, nbytes: int) -> Loan | None:
        """Return a slot to be filled in place; None if there is no room."""
        taken = self._take(layout((nbytes,))[0])
        return None if taken is None else Loan(taken, nbytes)

    def lent(self, blobs: Sequence[Any]) -> Loan | None:
        """Return the loan that these blobs are; None: they have to be copied.

        So has a loan that was published before, or lies in a memory that subscribers may have let go of.
        """
        if len(blobs) != 1 or not isinstance(blobs[0], memoryview) or not hasattr(blobs[0].obj, "loan"):
            return None
        loan: Loan | None = blobs[0].obj.loan()
        if loan is None or loan.published or loan.taken.memory is not self._memory:
            return None
        return loan if loan.view.nbytes == len(blobs[0]) else None

    def publish(self, loan: Loan, readers: Collection[Hashable] = ()) -> bytes:
        """Return the descriptor of a loan that is filled, of those that are `lent`."""
        loan.published = True
        loan.view = loan.view.toreadonly()
        loan.taken.unlock()
        self._turns.sent(loan.taken.slot, readers)
        return loan.taken.descriptor((loan.view.nbytes,))

    def heard(self, reader: Hashable, said: bytes) -> list[int]:
        """Take notice of what a reader said, any number of READ; nothing: it is gone.

        Return the slots of which it has read in a message of ZeroMQ.
        """
        slots = []
        for number, slot, generation in READ.iter_unpack(said):
            if (
                self._memory is not None
                and number & ~THROUGH_ZMQ == self._number
                and slot < self._memory.shape.slots
                and generation == self._memory.generations[slot]
            ):
                if number & THROUGH_ZMQ:
                    slots.append(slot)
                else:
                    self._turns.read(slot, reader)
        if not said:
            self._turns.gone(reader)
        return slots

    def close(self) -> None:
        """Let go of the memory. Who reads, or has a loan, keeps it."""
        self._max_bytes = 0
        self._memory = self._ahead = None
        self._retired.clear()

    def prepare(self) -> None:
        """Take the slot of the next message ahead, if there is one that nobody waits for."""
        if self._ahead is None and self._turns.spare:
            self._ahead = self._find(0, lambda: None)  # who calls has just heard

    def _take(self, nbytes: int) -> _Taken | None:
        """Return a slot that nobody reads, with its generation raised."""
        if (ahead := self._ahead) is not None:
            self._ahead = None
            if nbytes <= ahead.memory.shape.slot_bytes and ahead.memory is self._memory:
                return ahead
            ahead.end()
        taken = self._find(nbytes, self._hear)
        self.full += taken is None
        return taken

    def _find(self, nbytes: int, hear: Callable[[], object]) -> _Taken | None:
        if self._retired:
            self._retired = [memory for memory in self._retired if memory.is_read()]
        if self._memory is None or nbytes > self._memory.shape.slot_bytes:
            self._grow(nbytes)
        if self._memory is not None and nbytes <= self._memory.shape.slot_bytes:
            for slot in self._turns.candidates(hear):
                if self._memory.lock_for_writing(slot):
                    self._memory.generations[slot] += 1
                    self._turns.take(slot)
                    return _Taken(self._memory, self._turns.over, slot)
        return None

    def _grow(self, nbytes: int) -> None:
        """Make a memory with slots for so many bytes, if there is room for two of them beside what is still read."""
        old = self._memory
        still_read = [*self._retired, *([old] if old is not None and old.is_read() else [])]
        room = self._max_bytes - sum(memory.shape.size for memory in still_read)
        former = 0 if old is None else old.shape.slot_bytes
        slot_bytes = max(_rounded(nbytes), min(2 * former, room // self._slots // PAGE * PAGE))
        slots = min(max(self._slots, self._burst // slot_bytes), MOST_SLOTS, (room - _MOST_HEADER) // slot_bytes)
        if slots < _FEWEST:
            return
        try:
            new = memories.make(Shape(self._epoch, self._number + 1, slots, slot_bytes))
        except OSError:  # neither memory nor descriptors, or no such system call
            return
        self._memory, self._turns, self._retired = new, Turns(slots), still_read
        self._number += 1
        self._made(new)


def _rounded(nbytes: int) -> int:
    """Return the size of a slot for so many bytes: a little more, so that the next message fits too."""
    step = max(PAGE, (1 << nbytes.bit_length()) // (2 * _STEPS))
    return max(_SMALLEST, -(-nbytes // step) * step)
