"""A frame with its boxes, labels and a caption, drawn with Pillow. No messages on the wire."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from eis.msgbus.tools.demo.messages import MARKED, Defect, Result

_GREEN, _RED, _INK, _BAR = (70, 220, 130), (255, 82, 82), (16, 20, 24), (238, 242, 246)


def annotate(image: NDArray[np.uint8], result: Result) -> Image.Image:
    """Return the picture of a frame (height x width x 3 BGR, or x 1 grey) with what was found in it."""
    colours = image[..., ::-1] if result.channels == 3 else np.repeat(image[..., :1], 3, axis=2)
    picture = Image.fromarray(np.ascontiguousarray(colours))
    pen = _Pen(picture)
    for defect in result.defects:
        pen.mark(defect)
    pen.label((0, result.height), _caption(result), _BAR)
    return picture


def _caption(result: Result) -> str:
    milliseconds = (result.analysed_ns - result.sent_ns) / 1e6
    found = f"{len(result.defects)} found"
    return f"eis.msgbus: frame {result.frame_number}, {found}, sent and analysed in {milliseconds:.1f} ms"


class _Pen:
    """Draw in sizes that suit the picture's."""

    def __init__(self, picture: Image.Image) -> None:
        self._size = picture.size
        self._draw = ImageDraw.Draw(picture)
        self._font = ImageFont.load_default(size=max(10, picture.height // 42))
        self._line = max(1, picture.height // 270)

    def mark(self, defect: Defect) -> None:
        """Draw a box and say what is in it."""
        (left, top), (right, bottom) = defect.tl, defect.br
        colour, name = (_RED, "red mark") if defect.type == MARKED else (_GREEN, "moving")
        self._draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=self._line)
        self.label((left, top), f"{name} {right - left} x {bottom - top}", colour)

    def label(self, corner: tuple[int, int], text: str, colour: tuple[int, int, int]) -> None:
        """Write above the corner (x, y), or below where the picture ends; never beyond its right edge."""
        pad = self._line
        width = int(self._draw.textlength(text, font=self._font)) + 4 * pad
        height = int(self._draw.textbbox((0, 0), "Ag", font=self._font)[3]) + 2 * pad
        left = max(0, min(corner[0], self._size[0] - width))
        top = corner[1] - height if corner[1] >= height else corner[1]
        self._draw.rectangle((left, top, left + width, top + height), fill=colour)
        self._draw.text((left + 2 * pad, top + pad), text, font=self._font, fill=_INK)
