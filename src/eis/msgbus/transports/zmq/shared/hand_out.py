"""Where subscribers fetch the publisher's memory: a Unix socket beside the socket file. Never waits, has no thread.

A subscriber connects, says a nonce, and then says the same nonce where it subscribes: so the publisher knows that it
may have the frames, and that its connection is here. Each one gets a file description of its own, that can only be
read: the locks of one are never those of another, and end with it. There it is told of frames, and says what it has
read.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Collection, Iterator

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.transports.zmq.inherited import let_go_after_fork
from eis.msgbus.transports.zmq.shared.memory import Memory
from eis.msgbus.transports.zmq.shared.readers import MEMORY, Reader
from eis.msgbus.transports.zmq.socket_file import SocketFile
from eis.msgbus.transports.zmq.socket_path import MAX_PATH

__all__ = ["NONCE_BYTES", "HandOut", "hand_out_path"]

NONCE_BYTES = 8
_WAITING = 128  # connections whose nonce no subscription has said yet: more than the kernel lets wait
_AT_ONCE = 32  # times at a time that one reader is heard; it says something twice for each frame at most
_NOTICES, _ROOM = 106_496, 212_992  # bytes of a connection for notices, which the kernel doubles; with memories
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

Admits = Callable[[int, int, int], bool]
"""`admits(uid, gid, pid)`: whether a process may have the frames."""


def hand_out_path(path: str) -> str | None:
    """Return where the memory of the socket file at `path` is handed out; None if no socket address holds that."""
    directory, name = os.path.split(path)
    beside = os.path.join(directory, f".{name}.frames")
    return beside if len(os.fsencode(beside)) <= MAX_PATH else None


class HandOut:
    """Hand the memory out to subscribers that `admits` lets in, at `path`, where `group` may connect.

    Raises:
        MessageBusError: see `SocketFile`.
    """

    def __init__(self, path: str, group: int | None = None, admits: Admits = lambda *_: True) -> None:
        self._admits = admits
        self._file = SocketFile(path, group, socket.SOCK_SEQPACKET)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=self._file.detach())
        self._listener.setblocking(False)
        self._waiting: dict[socket.socket, bytes | None] = {}  # what each has said
        self._served: dict[int, Reader] = {}  # by file descriptor
        self._by_topic: dict[bytes, tuple[Reader, ...]] = {}  # as long as nobody comes or goes
        self._gone: list[Reader] = []
        self._ends = select.poll()
        self._memory: Memory | None = None
        let_go_after_fork(self)

    def offer(self, memory: Memory) -> None:
        """Send a new memory to every subscriber that was served, and from now on to those that come."""
        self._memory = memory
        self.forget_gone()
        for fileno, reader in tuple(self._served.items()):
            if not _send(reader.connection, memory):  # it reads nothing: without this memory it has no use for the next
                self._forget(fileno)

    def serve(self, nonce: bytes, prefix: bytes = b"", settled: Callable[[], int] = lambda: 0) -> bool:
        """Send the memory to who has said the nonce, and subscribes to `prefix`; False if nobody has. Never waits.

        `settled` returns how many messages of those topics went through ZeroMQ before.
        """
        self.forget_gone()
        self._accept()
        self._listen()
        for peer, said in self._waiting.items():
            if said == nonce:
                del self._waiting[peer]
                return self._begin(peer, nonce, prefix, settled())
        return False

    def forget_gone(self) -> None:
        """Close the connections of subscribers that are gone."""
        for fileno, events in self._ends.poll(0):
            if events != select.POLLIN:
                self._forget(fileno)

    def readers(self, name: bytes) -> tuple[Reader, ...]:
        """Return those who read the frames of a topic."""
        if (readers := self._by_topic.get(name)) is None:
            found = (reader for reader in self._served.values() if name.startswith(reader.prefix))
            readers = self._by_topic[name] = tuple(found)
        return readers

    def hear(self) -> Iterator[tuple[Reader, bytes]]:
        """Yield what readers have said since the last time; nothing (b"") of those who are gone."""
        for _ in range(_AT_ONCE):
            if not (stirred := self._ends.poll(0)):
                break
            for fileno, events in stirred:
                if (reader := self._served.get(fileno)) is None:  # a signal handler that publishes heard it too
                    continue
                said = reader.hear() if events == select.POLLIN else b""
                if said:
                    yield reader, said
                elif said is not None:
                    self._forget(fileno)
        while self._gone:
            yield self._gone.pop(), b""

    def mute(self, nonce: bytes) -> None:
        """Send no notices to who was served for a nonce."""
        for reader in self._served.values():
            if reader.nonce == nonce:
                reader.settled = None

    def end(self, nonce: bytes) -> None:
        """Serve who has said a nonce no more."""
        for fileno, reader in tuple(self._served.items()):
            if reader.nonce == nonce:
                self._forget(fileno)

    def let_go(self) -> Collection[object]:
        """Close what the child of a fork has of it; return under which names it listens."""
        for connection in (self._listener, *self._waiting, *(reader.connection for reader in self._served.values())):
            connection.close()
        self._waiting.clear()
        self._served.clear()
        self._by_topic.clear()
        self._ends = select.poll()
        return self._file.let_go()

    def close(self) -> None:
        """Hand out no more. Who has the memory keeps it."""
        if self._listener.fileno() < 0:
            return
        for peer in (*self._waiting, *(reader.connection for reader in self._served.values())):
            peer.close()
        self._waiting.clear()
        self._served.clear()
        self._by_topic.clear()
        self._memory = None
        self._listener.close()
        self._file.close()

    def _accept(self) -> None:
        """Let in who waits; who has waited longest has to make room."""
        for _ in range(_WAITING):
            try:
                peer, _address = self._listener.accept()
            except OSError:  # nobody waits, or no descriptors are left
                return
            peer.setblocking(False)
            if self._admitted(peer):
                self._waiting[peer] = None
            else:
                peer.close()
            if len(self._waiting) > _WAITING:
                self._drop(next(iter(self._waiting)))

    def _admitted(self, peer: socket.socket) -> bool:
        pid, uid, gid = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return self._admits(uid, gid, pid)

    def _listen(self) -> None:
        """Hear the nonces of those who wait; who says anything else, or has hung up, goes."""
        for peer, said in tuple(self._waiting.items()):
            with contextlib.suppress(BlockingIOError):
                heard = peer.recv(NONCE_BYTES + 1)  # nothing, if it has hung up
                if said is None and len(heard) == NONCE_BYTES:
                    self._waiting[peer] = heard
                else:
                    self._drop(peer)

    def _drop(self, peer: socket.socket) -> None:
        del self._waiting[peer]
        peer.close()

    def _begin(self, peer: socket.socket, nonce: bytes, prefix: bytes, settled: int) -> bool:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _NOTICES)
        if self._memory is not None and not _send(peer, self._memory):
            peer.close()
            return False
        self._served[peer.fileno()] = Reader(nonce, prefix, peer, settled)
        self._by_topic.clear()
        self._ends.register(peer, select.POLLIN | select.POLLRDHUP)
        return True

    def _forget(self, fileno: int) -> None:
        self._ends.unregister(fileno)
        reader = self._served.pop(fileno)
        self._by_topic.clear()
        reader.connection.close()
        self._gone.append(reader)


def _send(peer: socket.socket, memory: Memory) -> bool:
    """Send a description of its own, read-only, which has room beside all notices; False if that is not possible."""
    try:
        own = os.open(f"/proc/self/fd/{memory.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        peer.sendmsg([MEMORY], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [own]))])
    except OSError:
        return False
    finally:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _NOTICES)
        os.close(own)
    return True
