"""A frame that is read where it lies. Does not know where the descriptor came from.

The kernel's lock on a slot is kept by an array over the slot, and every view, slice and NumPy array of the blobs keeps
that array: when the last of them is gone the lock is, and not before.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared.descriptor import Descriptor, layout
from eis.msgbus.transports.zmq.shared.memory import Memory

__all__ = ["Lease", "lease"]


class Lease:
    """Hold the blobs of one message, as views that cannot be written to."""

    __slots__ = ("views",)

    def __init__(self, views: tuple[memoryview, ...]) -> None:
        self.views = views

    def release(self) -> None:
        """Let go of the views, which cannot be used any more; what was made from them lasts, and the lease with it."""
        views, self.views = self.views, ()
        for view in views:
            with contextlib.suppress(BufferError):  # a NumPy array has it
                view.release()


def lease(memory: Memory, asked: Descriptor, ended: Callable[[Descriptor], object]) -> Lease | None:
    """Return the blobs that a descriptor names; None if the publisher needed the slot for something newer.

    `ended` is called when they have been let go of, in any thread.

    Raises:
        InvalidMessage: no publisher makes such a descriptor.
    """
    nbytes, places = layout(asked.sizes)
    shape = memory.shape
    if asked.slot >= shape.slots or nbytes > shape.slot_bytes or not asked.generation or asked.slot in memory.held:
        raise InvalidMessage(_problem(memory, asked))
    array = memory.slot(asked.slot, functools.partial(_end, memory, asked, ended))  # before the lock, which must end
    memory.held.add(asked.slot)
    if not memory.lock_for_reading(asked.slot):
        return None
    found = memory.generations[asked.slot]
    if found < asked.generation:
        del array  # what is raised keeps what is here
        raise InvalidMessage(f"expected a generation of at most {found}, got {asked.generation}")
    if found != asked.generation:
        return None
    slot = memoryview(array).cast("B").toreadonly()
    return Lease(tuple([slot[place] for place in places]))


def _end(memory: Memory, asked: Descriptor, ended: Callable[[Descriptor], object]) -> None:
    memory.held.discard(asked.slot)
    if memory.unlock(asked.slot):  # in the child of a fork, it is the parent who reads
        ended(asked)


def _problem(memory: Memory, asked: Descriptor) -> str:
    """Return what is wrong with a descriptor."""
    shape = memory.shape
    if asked.slot >= shape.slots:
        return f"expected one of {shape.slots} slots, got number {asked.slot}"
    if asked.slot in memory.held:
        return f"slot {asked.slot} is leased already: a frame is sent once"
    if not asked.generation:
        return "expected a generation, got 0"
    return f"expected blobs of at most {shape.slot_bytes} bytes, got {sum(asked.sizes)}"
