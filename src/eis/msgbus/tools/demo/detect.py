"""What moves in a picture, as boxes; NumPy on a thinned view, nothing is copied whole. No messages on the wire."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from eis.msgbus.tools.demo.messages import MARKED, MOVING, Box, Defect, Picture

_ROWS = 135
"""About as many rows are looked at, so 1080p is thinned by 8."""
_THRESHOLD = 40
"""Levels between a pixel and its background that make it foreground; above what a passing part leaves behind."""
_CELL = 4
"""Foreground is joined when the cells of 4 x 4 thinned pixels that hold it touch."""
_SMALLEST = 6
"""Thinned pixels of foreground in the smallest thing."""

Mask = NDArray[np.bool_]
Thin = NDArray[np.int16]
Area = tuple[slice, slice]


def to_image(picture: Picture, view: memoryview | None) -> NDArray[np.uint8]:
    """Return the bytes of a frame as height x width x channels, without a copy.

    Raises:
        ValueError: the number of bytes is another.
    """
    shape = picture.height, picture.width, picture.channels
    image = np.frombuffer(view if view is not None else b"", np.uint8)
    if image.size != np.prod(shape):
        sizes = " x ".join(map(str, shape))
        raise ValueError(f"frame {picture.frame_number}: expected {sizes} bytes, got {image.size}")
    return image.reshape(shape)


class Detector:
    """Find what moves, by the difference to a background that follows the pictures by one level a picture.

    So where a thing was in the first picture, its trace fades in about a hundred pictures.
    """

    def __init__(self) -> None:
        self._background = self._previous = np.empty((0, 0, 0), np.int16)

    def find(self, image: NDArray[np.uint8], overlays: Sequence[Box] = ()) -> list[Defect]:
        """Return the boxes of what moves in the next picture, overlays left out."""
        step = max(1, image.shape[0] // _ROWS)
        thin = image[step // 2 :: step, step // 2 :: step].astype(np.int16)
        if thin.shape != self._background.shape:
            self._background, self._previous = thin.copy(), thin
        foreground, moving = self._compare(thin)
        for overlay in overlays:
            foreground[_area(overlay, step)] = False
        areas = [area for area in _areas(foreground) if moving[area].any()]
        return [Defect(**_box(area, step, image.shape), type=_type(thin[area])) for area in areas]

    def _compare(self, thin: Thin) -> tuple[Mask, Mask]:
        foreground = _differ(thin, self._background)
        moving = _differ(thin, self._previous)
        self._background += np.sign(thin - self._background)
        self._previous = thin
        return foreground, moving


def _differ(thin: Thin, other: Thin) -> Mask:
    mask: Mask = np.abs(thin - other).max(axis=2) > _THRESHOLD
    return mask


def _areas(mask: Mask) -> Iterator[Area]:
    rows = np.logical_or.reduceat(mask, range(0, mask.shape[0], _CELL), axis=0)
    cells = np.logical_or.reduceat(rows, range(0, mask.shape[1], _CELL), axis=1)
    for group in _groups({(y, x) for y, x in np.argwhere(cells).tolist()}):
        area = _shrink(mask, _surround(group))
        if np.count_nonzero(mask[area]) >= _SMALLEST:
            yield area


def _groups(cells: set[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield the cells that touch each other, corners included; empties `cells`."""
    while cells:
        group = [cells.pop()]
        for y, x in group:  # grows while it is walked
            near = {(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & cells
            cells -= near
            group += near
        yield group


def _surround(group: list[tuple[int, int]]) -> Area:
    ys, xs = zip(*group, strict=True)
    return slice(min(ys) * _CELL, (max(ys) + 1) * _CELL), slice(min(xs) * _CELL, (max(xs) + 1) * _CELL)


def _shrink(mask: Mask, area: Area) -> Area:
    ys, xs = (np.flatnonzero(mask[area].any(axis=axis)) for axis in (1, 0))
    top, left = area[0].start, area[1].start
    return slice(int(top + ys[0]), int(top + ys[-1] + 1)), slice(int(left + xs[0]), int(left + xs[-1] + 1))


def _box(area: Area, step: int, shape: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """Return the corners of an area and what the thinning may have left out around it."""
    rows, columns = area
    tl = max(0, columns.start - 1) * step, max(0, rows.start - 1) * step
    br = min((columns.stop + 1) * step, shape[1]), min((rows.stop + 1) * step, shape[0])
    return {"tl": tl, "br": br}


def _area(box: Box, step: int) -> Area:
    return slice(box.tl[1] // step, -(-box.br[1] // step)), slice(box.tl[0] // step, -(-box.br[0] // step))


def _type(thin: Thin) -> int:
    if thin.shape[2] < 3:
        return MOVING
    redness = thin[..., 2] - thin[..., :2].max(axis=2)
    return MARKED if np.count_nonzero(redness > 80) >= 3 else MOVING
