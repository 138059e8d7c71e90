"""The least that a program in Python can do to pass a frame in place on: a ring and claims in shared memory.

There is one subscriber, and no call of the kernel as long as both sides are busy. Nothing is named, checked, counted,
ordered or timed, nobody is kept out or cleaned up after, and it is right only where memory is ordered as on x86. So it
tells where a bus in Python ends.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.drive import Send, Take, decode, encode
from benchmarks.place import Place
from benchmarks.work import WARNING_TIME, ticks

_SLOTS, _ENTRIES, _ENTRY = 16, 64, 2048  # of the ring, which is longer than the window; bytes of one of its entries
_HEAD, _ASLEEP, _CLAIMED, _READ, _GENERATION = (
    0,
    8,
    16,
    64,
    128,
)  # words of the first page; the last three, of each slot
_LAID_OUT = struct.Struct("=QQQ")  # bytes of metadata, slot, generation
_TRIES = 50  # per second, until the publisher is there

_lock = threading.Lock()
_acquire, _release = _lock.acquire, _lock.release
"""Both together are a barrier: what is written before is seen before what is read after."""


class _Memory:
    """Map a memory of one page of words, the ring, and the slots."""

    def __init__(self, descriptor: int, nbytes: int) -> None:
        self.slot_bytes = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.begin = mmap.PAGESIZE + _ENTRIES * _ENTRY
        size = self.begin + _SLOTS * self.slot_bytes
        os.ftruncate(descriptor, size)
        self.whole = (ctypes.c_ubyte * size).from_buffer(mmap.mmap(descriptor, size))
        every = memoryview(self.whole).cast("B")
        self.words, self.ring = every[: mmap.PAGESIZE].cast("Q"), every[mmap.PAGESIZE : self.begin]

    def slots(self, **members: Any) -> tuple[Any, list[int]]:
        """Return a type whose instances are slots, and where each one begins."""
        places = [self.begin + slot * self.slot_bytes for slot in range(_SLOTS)]
        return type("Slot", (ctypes.c_ubyte * self.slot_bytes,), members), places


@contextmanager
def open_sender(place: Place, nbytes: int) -> Iterator[Send]:
    """Fill a slot by one byte, write down where it is, and wake the subscriber if it sleeps."""
    with _accepted(place) as connection:
        descriptor = os.memfd_create("least")
        memory = _Memory(descriptor, nbytes)
        socket.send_fds(connection, [nbytes.to_bytes(8)], [descriptor])
        os.close(descriptor)
        yield _sending(memory, connection)


def _sending(memory: _Memory, connection: socket.socket) -> Send:
    words, ring, whole = memory.words, memory.ring, memory.whole
    slot_type, places = memory.slots()
    free, sent = list(range(_SLOTS)), dict[int, int]()

    def send(message: dict[str, Any], image: Any) -> None:
        for slot, generation in tuple(sent.items()):
            if words[_READ + slot] == generation:
                del sent[slot]
                free.append(slot)
        slot = free.pop()
        words[_GENERATION + slot] = generation = words[_GENERATION + slot] + 1
        _acquire()
        _release()
        assert not words[_CLAIMED + slot]
        memoryview(slot_type.from_buffer(whole, places[slot])).cast("B")[0] = image.flat[0]
        data = encode(message)
        head = words[_HEAD] + 1
        start = head % _ENTRIES * _ENTRY
        _LAID_OUT.pack_into(ring, start, len(data), slot, generation)
        ring[start + _LAID_OUT.size : start + _LAID_OUT.size + len(data)] = data
        sent[slot] = generation
        words[_HEAD] = head
        _acquire()
        _release()
        if words[_ASLEEP]:
            connection.send(b"\0")

    return send


@contextmanager
def open_receiver(place: Place, take: Take) -> Iterator[Callable[[int], None]]:
    """Claim each slot, look at it where it lies, and let go of it."""
    with _connected(place) as connection:
        data, (descriptor,), _, _ = socket.recv_fds(connection, 8, 1)
        memory = _Memory(descriptor, int.from_bytes(data))
        os.close(descriptor)
        connection.setblocking(False)
        yield _receiving(memory, connection, take)


def _receiving(memory: _Memory, connection: socket.socket, take: Take) -> Callable[[int], None]:
    words, ring, whole = memory.words, memory.ring, memory.whole

    def let_go(frame: Any) -> None:
        words[_CLAIMED + frame.slot] = 0
        words[_READ + frame.slot] = frame.generation

    slot_type, places = memory.slots(__del__=let_go, __slots__=("generation", "slot"))
    read = 0

    def receive() -> tuple[Any, Any]:
        nonlocal read
        while words[_HEAD] == read:
            _wait(words, read, connection)
        read += 1
        start = read % _ENTRIES * _ENTRY
        length, slot, generation = _LAID_OUT.unpack_from(ring, start)
        words[_CLAIMED + slot] = generation
        _acquire()
        _release()
        assert words[_GENERATION + slot] == generation
        frame = slot_type.from_buffer(whole, places[slot])
        frame.slot, frame.generation = slot, generation
        return decode(ring[start + _LAID_OUT.size : start + _LAID_OUT.size + length]), memoryview(frame).cast(
            "B"
        ).toreadonly()

    def wait_for(count: int) -> None:
        for _ in range(count):
            take(*receive())

    return wait_for


def _wait(words: memoryview, read: int, connection: socket.socket) -> None:
    """Say that we sleep, sleep if nothing came before that was seen, and forget who woke us."""
    words[_ASLEEP] = 1
    _acquire()
    _release()
    if words[_HEAD] == read and not select.select((connection,), (), (), WARNING_TIME / 1000)[0]:
        raise TimeoutError("no frame came")
    words[_ASLEEP] = 0
    with suppress(BlockingIOError):
        while connection.recv(_ENTRIES):
            pass


@contextmanager
def _accepted(place: Place) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.settimeout(WARNING_TIME / 1000)
        listener.bind(_path(place))
        listener.listen()
        connection, _ = listener.accept()
        with connection:
            yield connection


@contextmanager
def _connected(place: Place) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        for _ in ticks(_TRIES * WARNING_TIME // 1000, _TRIES):
            with suppress(FileNotFoundError, ConnectionRefusedError):
                connection.connect(_path(place))
                break
        yield connection


def _path(place: Place) -> str:
    return str(Path(place.directory) / "least")
