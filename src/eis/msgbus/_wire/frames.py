"""The constants of the wire, and what frames are."""

from collections.abc import Sequence
from typing import Any

__all__ = ["BLOB", "COUNTS", "HEADER", "JSON", "MAX_PARTS", "ONE", "Frames"]

Frames = Sequence[Any]
"""The frames of one message, in order: name, content type and count as bytes, then anything with the buffer protocol
and a `len()` in bytes."""

JSON, BLOB = b"\0", b"\1"
MAX_PARTS = 255  # the count is one byte
COUNTS = tuple(bytes((count,)) for count in range(MAX_PARTS + 1))
ONE = COUNTS[1]
HEADER = 3  # name, content type, count
