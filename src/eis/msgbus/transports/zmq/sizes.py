"""How large a part of a message may be. Knows no socket: a peer that gets more than its limit cuts the connection."""

from __future__ import annotations

from typing import Any

from eis.msgbus._wire.frames import HEADER, JSON, Frames
from eis.msgbus.exceptions import InvalidMessage

__all__ = ["check_sizes"]


def check_sizes(frames: Frames, largest: int) -> int:
    """Look whether every part has at most `largest` bytes; return how many all have together.

    Raises:
        InvalidMessage: one has more; `where` names it.
    """
    total = 0
    for index, frame in enumerate(frames):
        size = len(frame)
        total += size
        if size > largest:
            problem = f"expected at most {largest} bytes (max_message_bytes says how many), got {size}"
            raise InvalidMessage(problem, _place(frames, index))
    return total


def _place(frames: Frames, index: int) -> str:
    """Return what the frame is, in the words of `encode`."""
    if index < HEADER:
        return "name"
    part: Any = index - HEADER
    if frames[1] != JSON:
        return f"blob {part}"
    return f"blob {part - 1}" if part else "metadata"
