"""Where frames come from: the rendered scene, a film or a camera. No messages, no pacing."""

import importlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from eis.msgbus.tools.demo.control import DemoError
from eis.msgbus.tools.demo.messages import Box
from eis.msgbus.tools.demo.scene import Image, Scene
from eis.msgbus.tools.demo.settings import is_device

RATE = 30.0
"""Frames per second where the source has no rate of its own."""


@dataclass(frozen=True)
class Source:
    """Hold frames, each an array of its own, and how many per second are due (None: a camera sets the pace)."""

    frames: Iterator[Image]
    rate: float | None = RATE
    overlays: list[Box] = field(default_factory=list)


@contextmanager
def opened(name: str | None) -> Iterator[Source]:
    """Open the rendered scene (None), a camera (its number or /dev/video0) or a film.

    Raises:
        DemoError: OpenCV cannot open it.
    """
    if name is None:
        scene = Scene()
        yield Source(map(scene.render, itertools.count(1)), overlays=scene.overlays)
        return
    cv2, capture = _capture(name)
    try:
        yield Source(_frames(capture, name), None if is_device(name) else _rate(capture.get(cv2.CAP_PROP_FPS)))
    finally:
        capture.release()


def _capture(name: str) -> tuple[Any, Any]:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # the error below says it in our words
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2 = importlib.import_module("cv2")  # an extra, and slow to import: only for those who play a film
    capture = cv2.VideoCapture(int(name) if name.isdecimal() else name)
    if not capture.isOpened():
        raise DemoError(f"expected a film or camera that OpenCV can open, got {name!r}")
    return cv2, capture


def _frames(capture: Any, name: str) -> Iterator[Image]:
    while (read := capture.read())[0]:
        yield read[1]
    if is_device(name):  # only a film has an end
        raise DemoError(f"camera {name!r}: expected another frame, got none")


def _rate(told: float) -> float:
    return told if 1 <= told <= 240 else RATE
