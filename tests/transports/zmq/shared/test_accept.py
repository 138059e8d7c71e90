"""Memory that somebody sends: sealed for good, or refused; nothing in it can end the reader."""

import ctypes
import fcntl
import mmap
import os
import sys
from collections.abc import Callable

import pytest

from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared.accept import accept
from eis.msgbus.transports.zmq.shared.memory import LAYOUT, MAGIC, PAGE, SEALS, Memory, Shape, make
from tests.transports.zmq.shared.conftest import SMALLEST, descriptors, mapped_bytes

SHAPE = Shape(epoch=7, number=1, slots=2, slot_bytes=SMALLEST)
HUGE = 2 << 20


def own_description(memory: Memory) -> int:
    return os.open(f"/proc/self/fd/{memory.descriptor}", os.O_RDONLY)


def forged(header: bytes, size: int = SHAPE.size, seals: int = SEALS, flags: int = os.MFD_ALLOW_SEALING) -> int:
    descriptor = os.memfd_create("forged", flags)
    os.ftruncate(descriptor, size)
    if header:
        os.pwrite(descriptor, header, 0)
    if seals:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def header(magic: bytes = MAGIC, version: int = 1, slots: int = 2, slot_bytes: int = SMALLEST) -> bytes:
    return LAYOUT.pack(magic, version, 1, 7, slots, slot_bytes)


def test_memory_is_accepted_as_it_was_made() -> None:
    made = make(SHAPE)
    assert accept(own_description(made)).shape == SHAPE


@pytest.mark.parametrize(
    ("attempt", "as_root"),
    [
        (lambda number: os.pwrite(number, b"x", 0), OSError),
        (lambda number: os.ftruncate(number, 0), OSError),
        (lambda number: os.ftruncate(number, 1 << 30), OSError),
        (lambda number: mmap.mmap(number, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE), OSError),
        (lambda number: fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE), OSError),
    ],
)
def test_nobody_changes_it_not_even_who_may_open_it_for_writing(
    attempt: Callable[[int], object], as_root: type[Exception]
) -> None:
    made = make(SHAPE)
    reader = own_description(made)
    writer = os.open(f"/proc/self/fd/{made.descriptor}", os.O_RDWR) if os.geteuid() == 0 else os.dup(made.descriptor)
    for number in (reader, writer, made.descriptor):
        with pytest.raises(as_root):
            attempt(number)
    os.close(reader)
    os.close(writer)
    made.whole[PAGE] = 1  # but for who made it


def test_who_has_a_description_to_read_cannot_lock_others_out() -> None:
    made = make(SHAPE)
    reader = accept(own_description(made))
    assert not reader.lock_for_writing(0)
    assert made.lock_for_writing(0)
    assert not reader.lock_for_reading(0)


@pytest.mark.parametrize(
    ("make_it", "problem"),
    [
        (lambda: forged(header(), seals=0), "with the seals 0x17, got 0x0"),
        *((lambda bit=bit: forged(header(), seals=SEALS & ~bit), "with the seals 0x17") for bit in (1, 2, 4, 16)),
        (lambda: os.open("/dev/null", os.O_RDONLY), "another kind of file"),
        (lambda: os.open(sys.executable, os.O_RDONLY), "another kind of file"),
        (lambda: os.pipe()[0], "another kind of file"),
        (lambda: forged(b"", size=0), f"{PAGE} to .* bytes, got 0"),
        (lambda: forged(header(), size=64), f"{PAGE} to .* bytes, got 64"),
        (lambda: forged(header(), size=SHAPE.size - 1), "no room for 2 slots"),
        (lambda: forged(header(), size=SHAPE.size + PAGE), "no room for 2 slots"),
        (lambda: forged(header(magic=b"eisother")), "got b'eisother' of version 1"),
        (lambda: forged(header(version=2)), "of version 2"),
        (lambda: forged(b""), "of version 0"),
        (lambda: forged(header(slots=3)), "no room for 3 slots"),
        (lambda: forged(header(slots=0), size=PAGE), "no room for 0 slots"),
        (lambda: forged(header(slots=2**64 - 1)), "no room for"),
        (lambda: forged(header(slots=2049, slot_bytes=PAGE), size=2054 * PAGE), "no room for 2049 slots"),
        (lambda: forged(header(slot_bytes=0), size=PAGE), "slots of 0"),
        (lambda: forged(header(slot_bytes=100), size=PAGE + 200), "slots of 100"),
        (lambda: forged(header(), size=1 << 62), "to 549755813888 bytes, got 4611686018427387904"),
        (lambda: forged(header(), size=(512 << 30) + PAGE), "to 549755813888 bytes, got 549755817984"),
    ],
)
def test_anything_else_is_refused_and_closed(make_it: Callable[[], int], problem: str) -> None:
    before = descriptors()
    number = make_it()
    others = descriptors() - before - 1  # the other end of a pipe
    with pytest.raises(InvalidMessage, match=problem):
        accept(number)
    assert descriptors() == before + others
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(number)


def test_memory_for_which_there_are_no_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def mmap_fails(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    number = forged(header())
    monkeypatch.setattr("eis.msgbus.transports.zmq.shared.accept.mapped", mmap_fails)
    with pytest.raises(InvalidMessage, match="cannot be read: Cannot allocate memory"):
        accept(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(number)


def test_huge_pages_are_refused_for_a_read_may_end_the_process_when_there_are_none() -> None:
    try:
        number = forged(b"", HUGE, SEALS, os.MFD_ALLOW_SEALING | os.MFD_HUGETLB)
    except OSError as error:
        pytest.skip(f"this kernel has no huge pages: {error.strerror}")
    with pytest.raises(InvalidMessage, match="expected shared memory in plain pages"):
        accept(number)


def test_memory_that_cannot_be_finished_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fchmod(_descriptor: int, _mode: int) -> None:
        raise OSError(1, "no")

    before = descriptors(), mapped_bytes()
    monkeypatch.setattr(os, "fchmod", fchmod)
    with pytest.raises(OSError, match="no") as caught:
        make(SHAPE)
    del caught
    assert (descriptors(), mapped_bytes()) == before


def test_lock_is_as_the_kernel_reads_it() -> None:
    class Flock(ctypes.Structure):
        _fields_ = (
            ("type", ctypes.c_short),
            ("whence", ctypes.c_short),
            ("start", ctypes.c_int64),
            ("length", ctypes.c_int64),
            ("pid", ctypes.c_int),
        )

    from eis.msgbus.transports.zmq.shared import memory

    assert ctypes.sizeof(Flock) == memory._FLOCK.size
    expected = bytes(Flock(fcntl.F_WRLCK, os.SEEK_SET, 3, 1, 0))
    assert memory._flock(fcntl.F_WRLCK, 3) == expected
