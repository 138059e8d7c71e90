"""What the demo's processes tell each other, as types. No sockets, no clocks."""

from typing import Any

import msgspec

FRAMES = "camera1_stream"
"""Topic of the frames."""
RESULTS = "camera1_results"
"""Topic of what analytics found."""
SNAPSHOT = "snapshot"
"""Service that answers with the newest frame and its boxes."""

LOST = 3
"""Exit status of a process that did its part, but missed something."""

MOVING = 0
"""`Defect.type` of a thing that moves."""
MARKED = 1
"""`Defect.type` of a thing that moves and has a red mark."""


class Box(msgspec.Struct, frozen=True):
    """Bound a rectangle in pixels: `tl` (x, y) is inside, `br` is the first pixel beyond it."""

    tl: tuple[int, int]
    br: tuple[int, int]


class Defect(Box, frozen=True):
    """Say what is in a box: `MOVING` or `MARKED`."""

    type: int


class Progress(msgspec.Struct, frozen=True):
    """Say what a process has done so far: frames, their bytes, CPU time; and when it said so (monotonic)."""

    frames: int
    bytes: int
    cpu_ns: int
    at_ns: int


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Name a frame in the words of EIS. The raw frame is height x width x channels bytes, BGR."""

    img_handle: str
    width: int
    height: int
    channels: int
    frame_number: int


class Frame(Picture, frozen=True, kw_only=True):
    """Describe a frame that is sent. `overlays` are burnt into it and no part of the scene."""

    sent_ns: int
    overlays: list[Box] = []
    ingestion: Progress


class Result(Picture, frozen=True, kw_only=True):
    """Say what analytics found in a frame, and when the frame left, arrived and was done with (monotonic).

    `form` is how the frame came, in the words of `stats.form`.
    """

    sent_ns: int
    received_ns: int
    analysed_ns: int
    defects: list[Defect]
    ingestion: Progress
    analytics: Progress
    lost: int
    form: str = ""


class End(msgspec.Struct, frozen=True):
    """End a stream: how many were sent before this, and which were missing on the way."""

    end_of_stream: int
    lost: int = 0
    missing: str = ""


def to_metadata(message: msgspec.Struct) -> dict[str, Any]:
    """Return the metadata that says what `message` says."""
    metadata: dict[str, Any] = msgspec.to_builtins(message)
    return metadata


def to_frame(metadata: object) -> Frame | End:
    """Return what a message of the topic `FRAMES` says.

    Raises:
        msgspec.ValidationError: it is neither a frame nor the end.
    """
    return msgspec.convert(metadata, End) if _is_end(metadata) else msgspec.convert(metadata, Frame)


def to_result(metadata: object) -> Result | End:
    """Return what a message of the topic `RESULTS` says.

    Raises:
        msgspec.ValidationError: it is neither a result nor the end.
    """
    return msgspec.convert(metadata, End) if _is_end(metadata) else msgspec.convert(metadata, Result)


def _is_end(metadata: object) -> bool:
    return isinstance(metadata, dict) and "end_of_stream" in metadata
