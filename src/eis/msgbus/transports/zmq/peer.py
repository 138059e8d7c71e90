"""Whose connection a frame came over, as libzmq tells. Does not know what the frame means."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import NamedTuple

import zmq

__all__ = ["Peer", "Source", "source_of"]


class Peer(NamedTuple):
    """Tell one connection from all others, also after its descriptor has become that of another."""

    descriptor: int
    inode: int

    @property
    def gone(self) -> bool:
        """Tell whether it is closed; where the system does not tell (Windows), that it is."""
        return not self.inode or _inode(self.descriptor) != self.inode

    def hang_up(self) -> None:
        """End the connection, under libzmq's hands; a ZeroMQ client connects anew."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:  # it is closed, or a file has its descriptor
            doubled = os.dup(self.descriptor)
            held.callback(os.close, doubled)
            if os.fstat(doubled).st_ino == self.inode:
                connection = socket.socket(fileno=doubled)
                held.callback(connection.detach)
                connection.shutdown(socket.SHUT_RDWR)


class Source(NamedTuple):
    """Say who sent a frame: the name that access control gave, empty without one, and whether its socket is a SUB."""

    peer: Peer
    name: str
    is_subscriber: bool


def source_of(frame: zmq.Frame) -> Source | None:
    """Return who sent a frame of an XPUB socket; None: libzmq did, because a connection is closed."""
    try:
        descriptor = int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return None
    peer = Peer(descriptor, _inode(descriptor))
    return Source(peer, _property(frame, "User-Id"), _property(frame, "Socket-Type") == "SUB")


def _property(frame: zmq.Frame, name: str) -> str:
    with contextlib.suppress(zmq.ZMQError):
        return str(frame.get(name))
    return ""


def _inode(descriptor: int) -> int:
    """Return what the system tells a socket by; 0: it is closed, or (Windows) not told."""
    with contextlib.suppress(OSError):
        return os.fstat(descriptor).st_ino
    return 0
