"""Real films for tests, encoded by OpenCV."""

from pathlib import Path

import cv2

from eis.msgbus.tools.demo.scene import Scene

RATE = 30.0


def film(path: Path, frames: int, *, width: int = 1920, height: int = 1080) -> Path:
    """Encode that many frames of the rendered scene at 30 per second."""
    scene = Scene()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (width, height))
    assert writer.isOpened()
    for number in range(1, frames + 1):
        writer.write(cv2.resize(scene.render(number), (width, height)))
    writer.release()
    return path
