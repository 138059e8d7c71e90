"""How large a part of a message may be. Knows no socket: a peer that gets more than its limit cuts the connection."""

from __future__ import annotations

from typing import Any

from eis.msgbus._wire import Frames
from eis.msgbus.exceptions import InvalidMessage

__all__ = ["check_sizes"]

_HEADER = 3  # name, content type, count
_JSON = b"\0"


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
    if index < _HEADER:
        return "name"
    part: Any = index - _HEADER
    if frames[1] != _JSON:
        return f"blob {part}"
    return f"blob {part - 1}" if part else "metadata"
