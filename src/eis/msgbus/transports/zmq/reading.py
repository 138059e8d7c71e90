"""Whole messages out of a socket's frames. Trusts no count: the `more` flag of the last frame decides.

A call of pyzmq costs more than what it does, so a small message is read with four of them and one look at the flag,
where that is safe. Of a request every frame is looked behind: with a short message of one client before it, the next
client's could not be told from the rest of a long one, and an answer could go to whom it is not for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq

from eis.msgbus._wire.frames import BLOB, JSON
from eis.msgbus._wire.native import MARK
from eis.msgbus.transports.zmq.calls import LAST

__all__ = [
    "More",
    "Recv",
    "is_whole",
    "read_message",
    "read_reply",
    "read_request",
    "read_rest",
    "split_short",
]

_SHORTEST = 4  # frames of a plain message

Recv = Callable[..., Any]
More = Callable[[], int]


def read_message(recv: Recv, more: More, first: bytes | None = None) -> list[Any]:
    """Return the frames of the next message, all of them, none of the one behind it; `first` was read already.

    Frames that can be large are zmq.Frame: they are not copied. Metadata is: to read it costs more.

    Raises:
        zmq.Again: there is none.
    """
    name = recv(LAST) if first is None else first
    if not more():
        return [name]
    kind = recv(LAST)
    if not more():
        return [name, kind]
    frames = [name, kind, recv(LAST)]
    if kind == JSON and more():
        frames.append(recv(LAST))
    if more():
        read_rest(recv, frames)
    return frames


def read_reply(recv: Recv, more: More) -> list[Any]:
    """Do as `read_message`, from a REQ socket, which reads on to no other message: no frame needs a look behind it.

    Raises:
        zmq.Again: there is none.
    """
    frames = [recv(LAST)]
    try:
        frames.append(recv(LAST))
        frames.append(recv(LAST))
        if frames[1] == JSON:
            frames.append(recv(LAST))
    except zmq.ZMQError as error:
        if error.errno != zmq.EFSM:
            raise
        return frames
    if more():
        read_rest(recv, frames)
    return frames


def read_request(recv: Recv, more: More) -> tuple[list[Any], list[bytes]]:
    """Return the next request of a ROUTER socket, and the way back that stands before its empty frame.

    The request has no frames where there is no empty one.

    Raises:
        zmq.Again: there is none.
    """
    way_back = [recv(LAST), frame := recv(LAST)]  # ZeroMQ puts the first before what came, so there is a second
    while frame:
        if not more():
            return [], way_back[:1]
        way_back.append(frame := recv(LAST))
    return read_message(recv, more) if more() else [], way_back


def read_rest(recv: Recv, frames: list[Any]) -> None:
    """Append what is left of a message of which the last frame that was read has others behind it."""
    while True:
        frame = recv(LAST, copy=False)
        frames.append(frame)
        if not frame.more:
            return


def is_whole(frames: list[Any]) -> bool:
    """Tell whether these can be the frames of one message: name, content type, the right count, parts."""
    return len(frames) >= _SHORTEST and frames[1] in (JSON, BLOB) and frames[2] == bytes((min(len(frames) - 3, 255),))


def split_short(frames: list[Any]) -> list[list[Any]]:
    """Divide frames that were read in one go although the first message was shorter than the four of a whole one.

    A message behind it begins at the place after which the frames are whole, or with the mark of a native one.
    """
    plain = [bytes(frame) for frame in frames[:6]] + frames[6:]  # three at most, and the header of a message
    messages = [plain[:1]]
    for index, frame in enumerate(plain[1:], start=1):
        if index < _SHORTEST and is_whole(plain[index:]):
            return [*messages, plain[index:]]
        if index < _SHORTEST and frame[:1] == MARK and len(frame) > 1:  # a count may look like the mark
            messages.append([frame])
        else:
            messages[-1].append(frame)
    return messages
