"""A rendered scene: parts pass on three belts, a counter is burnt in. No messages, no clocks."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eis.msgbus.tools.demo import digits
from eis.msgbus.tools.demo.messages import Box

Image = NDArray[np.uint8]
"""height x width x channels, BGR."""

HEIGHT, WIDTH = 1080, 1920
_SIZE = 220
"""Edge of a part's square, in pixels."""
_LANES = (300, 590, 880)
_PLACES, _SCALE = 6, 8
_CORNER = 32
"""Distance of the counter from the left and upper edge, in pixels."""

Plane = NDArray[np.float64]

_y, _x = np.mgrid[0:_SIZE, 0:_SIZE] - (_SIZE - 1) / 2
_radius: Plane = np.hypot(_x, _y)
_angle: Plane = np.arctan2(_y, _x)


class Sprite(NamedTuple):
    """Hold a part, ready to be laid over a frame: colour times opacity, and 255 less opacity."""

    colour: NDArray[np.uint16]
    transparency: NDArray[np.uint16]


class Part(NamedTuple):
    """Hold a sprite and its way: the pixel where it starts, and pixels per frame."""

    sprite: Sprite
    x: int
    y: int
    speed: int


class Scene:
    """Render frames of 1080 x 1920 x 3, each an array of its own (a frame is sent without a copy)."""

    def __init__(self) -> None:
        self._backdrop = _backdrop()
        self._parts = _parts()

    def render(self, number: int) -> Image:
        """Return the frame with that number."""
        frame = self._backdrop.copy()
        for part in self._parts:
            _lay(frame, part, (part.x + part.speed * number) % (WIDTH + _SIZE) - _SIZE)
        ink = digits.bitmap(number, _PLACES, _SCALE)
        counter(frame)[...] = np.where(ink[..., None], np.uint8(235), np.uint8(16))
        return frame

    @property
    def overlays(self) -> list[Box]:
        """Return where the counter is."""
        height, width = digits.size(_PLACES, _SCALE)
        return [Box((_CORNER, _CORNER), (_CORNER + width, _CORNER + height))]


def counter(frame: Image) -> Image:
    """Return the part of a frame that holds the counter, not a copy."""
    height, width = digits.size(_PLACES, _SCALE)
    return frame[_CORNER : _CORNER + height, _CORNER : _CORNER + width]


def read_counter(frame: Image) -> int:
    """Return the number that is burnt into a frame.

    Raises:
        ValueError: there is no number.
    """
    return digits.read(counter(frame)[..., 0] > 127, _PLACES, _SCALE)


def _lay(frame: Image, part: Part, x: int) -> None:
    left, right = max(x, 0), min(x + _SIZE, WIDTH)
    seen = np.s_[:, left - x : max(right, left) - x]
    place = frame[part.y : part.y + _SIZE, left : max(right, left)]
    place[...] = (place * part.sprite.transparency[seen] + part.sprite.colour[seen]) // 255


def _backdrop() -> Image:
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[...] = np.linspace((58, 46, 40), (34, 27, 24), HEIGHT)[:, None].astype(np.uint8)
    for lane in _LANES:
        frame[lane - 125 : lane + 125] = (64, 60, 56)
        frame[lane - 131 : lane - 125] = frame[lane + 125 : lane + 131] = (108, 98, 90)
    return frame


def _parts() -> tuple[Part, ...]:
    brass, steel, copper = (110, 190, 225), (214, 208, 200), (120, 150, 215)
    washer, nut, gear = _sprite(_washer, steel), _sprite(_nut, brass), _sprite(_gear, steel)
    disc, marked, bad_nut = _sprite(_disc, copper), _sprite(_disc, steel, mark=True), _sprite(_nut, brass, mark=True)
    lanes = (
        ((washer, 200), (marked, 900), (nut, 1500)),
        ((gear, 500), (disc, 1300)),
        ((bad_nut, 100), (washer, 800), (gear, 1700)),
    )
    return tuple(
        Part(sprite, x, y - _SIZE // 2, speed)
        for y, speed, parts in zip(_LANES, (6, 9, -7), lanes, strict=True)
        for sprite, x in parts
    )


def _sprite(shape: Callable[[], Plane], colour: tuple[int, int, int], mark: bool = False) -> Sprite:
    sheen = 0.78 + 0.22 * np.cos(2 * _angle + 0.8)
    paint = sheen[..., None] * np.array(colour)
    if mark:
        paint[np.hypot(_x - 38, _y + 48) < 21] = (40, 30, 215)
    opacity = np.clip(0.5 - shape(), 0, 1)[..., None]
    return Sprite((paint * opacity * 255).astype(np.uint16), (255 - opacity * 255).astype(np.uint16))


# Shapes: the distance of each pixel to the outline, below zero inside.


def _disc() -> Plane:
    return _radius - 88


def _washer() -> Plane:
    return _carve(_radius - 94, 38)


def _nut() -> Plane:
    slopes = [np.abs(_x * np.cos(turn) + _y * np.sin(turn)) for turn in (0, np.pi / 3, 2 * np.pi / 3)]
    return _carve(np.max(slopes, axis=0) - 90, 36)


def _gear() -> Plane:
    teeth = 84 + 11 * np.clip(3 * np.cos(12 * _angle), -1, 1)
    return _carve(_radius - teeth, 26)


def _carve(shape: Plane, hole: float) -> Plane:
    carved: Plane = np.maximum(shape, hole - _radius)
    return carved
