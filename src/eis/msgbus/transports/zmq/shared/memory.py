"""One memfd of slots: made and sealed, or checked; mapped; each slot locked. Does not know what lies in a slot.

The memory has no name, so nothing is left behind, whoever is killed. It is sealed before anybody else gets it: nobody
can make it shorter (who reads it would be ended by SIGBUS), nor map or write it anew; only its maker's own mapping,
which is older than the seal, is written to. It begins with a header and the generation of each slot, which is raised
whenever the slot is about to be written.

A lock is one of an open file description (F_OFD_SETLK), on the byte whose number is that of the slot: shared by who
read, alone for who writes. It ends with its description, whatever ends the process. So each subscriber needs a
description of its own: a copy of another's would share the locks too. For the same reason the child of a fork closes
its copies.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import sys
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

__all__ = ["HEADER", "LAYOUT", "MAGIC", "MOST_SLOTS", "PAGE", "SEALS", "VERSION", "Memory", "Shape", "make", "mapped"]

MAGIC, VERSION = b"eisframe", 1
LAYOUT = struct.Struct("=8sIIQQQ")  # magic, version, number, epoch, slots, bytes of a slot
HEADER = 64  # where the generations begin, eight bytes each
PAGE = mmap.PAGESIZE
MOST_SLOTS = 2048
_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE of linux/fcntl.h, since Linux 5.1; the module fcntl has no name for it
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | _FUTURE_WRITE
_READABLE = 0o444
_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid
_SETLK = fcntl.F_OFD_SETLK
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class Shape(NamedTuple):
    """Say which memory it is, and how large: `number` counts those of one `epoch`, a life of the publisher."""

    epoch: int
    number: int
    slots: int
    slot_bytes: int

    @property
    def size(self) -> int:
        """Return how many bytes the memory has."""
        return self.begin + self.slots * self.slot_bytes

    @property
    def begin(self) -> int:
        """Return where the first slot begins: behind the pages of the header and the generations."""
        return -(-(HEADER + 8 * self.slots) // PAGE) * PAGE


def mapped(descriptor: int, size: int, *, writable: bool) -> ctypes.Array[ctypes.c_ubyte]:
    """Return the memory as an array; it stays mapped as long as anything made from the array is there.

    The module mmap gives no address of what may only be read.
    """
    rights = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
    address = _libc.mmap(None, size, rights, mmap.MAP_SHARED, descriptor, 0)
    if address == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    whole = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(whole, _libc.munmap, address, size).atexit = False
    return whole


class _Descriptor:
    """Own a file descriptor, until it is closed."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)


class Memory:
    """Be a memory that is mapped, and lock its slots. It owns `descriptor`, and closes it when nobody has the memory.

    `held` are the slots that are leased here: one description has one lock for each.
    """

    def __init__(self, descriptor: int, shape: Shape, whole: ctypes.Array[ctypes.c_ubyte]) -> None:
        self.shape = shape
        self.held: set[int] = set()
        self.whole = memoryview(whole).cast("B")
        self.generations = self.whole[HEADER : HEADER + 8 * shape.slots].cast("Q")
        self._array = whole
        self._begin, self._slot_bytes = shape.begin, shape.slot_bytes
        self._slot_type: Any = type("Slot", (ctypes.c_ubyte * shape.slot_bytes,), {"__del__": _end})
        self._descriptor = _Descriptor(descriptor)
        self._reading = [_flock(fcntl.F_RDLCK, slot) for slot in range(shape.slots)]
        self._writing = [_flock(fcntl.F_WRLCK, slot) for slot in range(shape.slots)]
        self._nothing = [_flock(fcntl.F_UNLCK, slot) for slot in range(shape.slots)]
        _all.add(self)
        weakref.finalize(self, self._descriptor.close).atexit = False

    @property
    def descriptor(self) -> int:
        """Return the file descriptor; -1 in the child of a fork."""
        return self._descriptor.number

    def begin(self, slot: int) -> int:
        """Return where the slot begins."""
        return self._begin + slot * self._slot_bytes

    def slot(self, slot: int, ended: Callable[[], object]) -> ctypes.Array[ctypes.c_ubyte]:
        """Return a slot as an array of its own, that keeps the memory mapped.

        `ended` is called, in any thread, when neither the array nor anything made from it is there any more.
        """
        begin = self._begin + slot * self._slot_bytes  # not by a call, which costs as much as this
        array: ctypes.Array[ctypes.c_ubyte] = self._slot_type.from_buffer(self._array, begin)
        array.ended = ended  # type: ignore[attr-defined]  # half the cost of weakref.finalize
        return array

    def lock_for_reading(self, slot: int) -> bool:
        """Keep the publisher off a slot; False if it is writing there."""
        return self._lock(self._reading[slot])

    def lock_for_writing(self, slot: int) -> bool:
        """Have a slot alone; False if somebody reads it."""
        return self._lock(self._writing[slot])

    def _lock(self, lock: bytes) -> bool:
        try:
            fcntl.fcntl(self._descriptor.number, _SETLK, lock)
        except OSError:  # somebody else has it, or the kernel has no room for one more
            return False
        return True

    def unlock(self, slot: int) -> bool:
        """Let go of a slot; in the child of a fork, leave it to the parent, and return False."""
        if self._descriptor.number < 0:
            return False
        fcntl.fcntl(self._descriptor.number, _SETLK, self._nothing[slot])
        return True

    def is_read(self) -> bool:
        """Tell whether anybody else has a lock on any slot. What we have locked ourselves does not count, and stays."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, self.shape.slots, 0)
        found = fcntl.fcntl(self._descriptor.number, fcntl.F_OFD_GETLK, asked)
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def be_inherited(self) -> None:
        """Be the copy in the child of a fork: no lock is ours, and none may last because of us."""
        self._descriptor.close()


def _end(slot: Any) -> None:
    slot.ended()


def _flock(kind: int, slot: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, slot, 1, 0)


def make(shape: Shape) -> Memory:
    """Make a memory that only this process can write to.

    Raises:
        OSError: the system has no memory or descriptors left, or is too old.
    """
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, "this Python has no memfd_create")
    descriptor = os.memfd_create("eis-msgbus", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, shape.size)
        whole = mapped(descriptor, shape.size, writable=True)
        LAYOUT.pack_into(whole, 0, MAGIC, VERSION, shape.number, shape.epoch, shape.slots, shape.slot_bytes)
        os.fchmod(descriptor, _READABLE)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        return Memory(descriptor, shape, whole)
    except BaseException:
        os.close(descriptor)
        raise


def _forked() -> None:
    for memory in tuple(_all):
        memory.be_inherited()


_all: weakref.WeakSet[Memory] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forked)
