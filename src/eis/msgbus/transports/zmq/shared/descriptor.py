"""What a message says of its frame in shared memory, and who has read it: which slot, which generation of it. Pure.

The blobs of one message lie in one slot, one after the other, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple

from eis.msgbus.exceptions import InvalidMessage

__all__ = ["READ", "THROUGH_ZMQ", "Descriptor", "layout", "pack", "unpack"]

_HEAD = 24  # epoch, number of the memory, slot, generation
_SIZE = 8
_MOST = 255  # blobs, as on the wire
READ = struct.Struct("=IIQ")
"""What a reader says when it has let go of a frame: number of the memory, slot, generation."""
THROUGH_ZMQ = 1 << 31
"""With this added to the number it says instead that it has read a message of ZeroMQ which names the frame."""
_ALIGNMENT = 64  # a line of the cache, and what vector instructions ask for


class Descriptor(NamedTuple):
    """Name a frame: in the memory `number` of the publisher's life `epoch`, the slot, its generation, its blobs."""

    epoch: int
    number: int
    slot: int
    generation: int
    sizes: tuple[int, ...]


@functools.cache
def _form(blobs: int) -> struct.Struct:
    return struct.Struct(f"=QIIQ{blobs}Q")


def pack(epoch: int, number: int, slot: int, generation: int, sizes: tuple[int, ...]) -> bytes:
    """Return the bytes of a descriptor."""
    return _form(len(sizes)).pack(epoch, number, slot, generation, *sizes)


def unpack(data: bytes | memoryview) -> Descriptor:
    """Return the descriptor of which these are the bytes.

    Raises:
        InvalidMessage: they are of none.
    """
    blobs, rest = divmod(len(data) - _HEAD, _SIZE)
    if rest or not 1 <= blobs <= _MOST:
        raise InvalidMessage(f"expected a frame's descriptor, of 1 to {_MOST} blobs, got {len(data)} bytes")
    values = _form(blobs).unpack(data)
    return Descriptor(values[0], values[1], values[2], values[3], values[4:])


@functools.lru_cache(256)
def layout(sizes: tuple[int, ...]) -> tuple[int, tuple[slice, ...]]:
    """Return how many bytes of a slot blobs of these sizes take, and where each lies, from where the first begins."""
    places, start = [], 0
    for size in sizes:
        places.append(slice(start, start + size))
        start += -(-size // _ALIGNMENT) * _ALIGNMENT
    return start, tuple(places)
