"""Whether a descriptor that somebody sent is a memory of slots that can be read without danger."""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared.memory import (
    HEADER,
    LAYOUT,
    MAGIC,
    MOST_SLOTS,
    PAGE,
    SEALS,
    VERSION,
    Memory,
    Shape,
    mapped,
)

__all__ = ["accept"]

_TMPFS = 0x01021994  # TMPFS_MAGIC of linux/magic.h; in huge pages a read may end in SIGBUS when there are none left

_LARGEST = 512 << 30
"""Bytes; so the memories of one publisher cannot take all addresses of the process, which are 128 TiB."""

_libc = ctypes.CDLL(None, use_errno=True)


def accept(descriptor: int) -> Memory:
    """Return the memory; the descriptor is closed in any case.

    A mapping keeps the description that it was made from. The locks get another one, so that the child of a fork, which
    has the mapping too, does not keep the locks of a parent that was killed.

    Raises:
        InvalidMessage: it is no memory of ours, or could be changed or cut while we read.
    """
    try:
        _check_seals(descriptor)
        size = _size(descriptor)
        whole = mapped(descriptor, size, writable=False)
        shape = _shape(bytes(memoryview(whole).cast("B")[:HEADER]), size)
        return Memory(os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC), shape, whole)
    except OSError as error:
        raise InvalidMessage(f"shared memory cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _check_seals(descriptor: int) -> None:
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise InvalidMessage("expected shared memory (a memfd), got another kind of file") from error
    if seals & SEALS != SEALS:
        raise InvalidMessage(f"expected shared memory with the seals {SEALS:#x}, got {seals:#x}")
    found = (ctypes.c_long * 64)()  # struct statfs begins with the type, and is shorter
    if _libc.fstatfs(descriptor, found) or found[0] != _TMPFS:
        raise InvalidMessage(f"expected shared memory in plain pages, got a file system of type {found[0]:#x}")


def _size(descriptor: int) -> int:
    if not PAGE <= (size := os.fstat(descriptor).st_size) <= _LARGEST:
        raise InvalidMessage(f"expected shared memory of {PAGE} to {_LARGEST} bytes, got {size}")
    return size


def _shape(header: bytes, size: int) -> Shape:
    magic, version, number, epoch, slots, slot_bytes = LAYOUT.unpack_from(header)
    if (magic, version) != (MAGIC, VERSION):
        raise InvalidMessage(f"expected shared frames of version {VERSION}, got {magic!r} of version {version}")
    shape = Shape(epoch, number, slots, slot_bytes)
    if not 1 <= slots <= MOST_SLOTS or not slot_bytes or slot_bytes % PAGE or shape.size != size:
        raise InvalidMessage(f"shared memory of {size} bytes has no room for {slots} slots of {slot_bytes}")
    return shape
