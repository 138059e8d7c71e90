"""The frames of one message into a socket. Knows neither the socket nor what the frames mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eis.msgbus._wire import Frames
from eis.msgbus.transports.zmq.calls import LAST, MORE

__all__ = ["SMALL", "ZERO_COPY", "send_all"]

ZERO_COPY = 128 * 1024
"""Bytes from which on a frame is handed to libzmq without a copy; below, the copy costs less than the bookkeeping."""

SMALL = 4
"""How many frames there are where metadata or one blob is all there is."""


def send_all(send: Callable[..., Any], frames: Frames) -> None:
    """Send the frames of one message; a small one, as most requests and replies are, without a loop."""
    if len(frames) == SMALL and len(frames[3]) < ZERO_COPY:
        name, kind, count, part = frames
        send(name, MORE)
        send(kind, MORE)
        send(count, MORE)
        send(part, LAST)
        return
    last = len(frames) - 1
    for index, frame in enumerate(frames):
        flags = LAST if index == last else MORE
        if len(frame) < ZERO_COPY:
            send(frame, flags)
        else:
            send(frame, flags, copy=False)
