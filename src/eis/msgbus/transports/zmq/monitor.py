"""What libzmq tells of a socket's connections, out of the socket that it tells it to. Does not know what it means.

`zmq.utils.monitor` does this too, and loads asyncio for it: 30 ms and 5 MB of every program.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import zmq

__all__ = ["Event", "read_event"]

_EVENT = struct.Struct("=Hi")  # zmq_socket_monitor(3): event and value; a second frame holds the address


class Event(NamedTuple):
    """Be an event, one of zmq.EVENT_*, and its value, such as an error number or a ZAP status."""

    kind: int
    value: int


def read_event(events: zmq.Socket[bytes]) -> Event:
    """Return the event that has come; wait for it if none has."""
    return Event(*_EVENT.unpack(events.recv_multipart()[0]))
