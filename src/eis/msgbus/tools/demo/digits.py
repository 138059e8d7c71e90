"""A tiny bitmap font for a counter burnt into pictures, and its reader. Only digits."""

import numpy as np
from numpy.typing import NDArray

_ROWS = (
    "01110 00100 01110 11111 00010 11111 00110 11111 01110 01110",
    "10001 01100 10001 00010 00110 10000 01000 00001 10001 10001",
    "10011 00100 00001 00100 01010 11110 10000 00010 10001 10001",
    "10101 00100 00010 00010 10010 00001 11110 00100 01110 01111",
    "11001 00100 00100 00001 11111 00001 10001 01000 10001 00001",
    "10001 00100 01000 10001 00010 10001 10001 01000 10001 00010",
    "01110 01110 11111 01110 00010 01110 01110 01000 01110 01100",
)
_GLYPHS = np.array([[[int(bit) for bit in row.split()[digit]] for row in _ROWS] for digit in range(10)], dtype=bool)
_HEIGHT, _WIDTH = 9, 6
"""A cell: the glyph of 7 x 5, a row above and below it, a column beside it."""


def size(places: int, scale: int) -> tuple[int, int]:
    """Return height and width in pixels of a counter."""
    return _HEIGHT * scale, (_WIDTH * places + 1) * scale


def bitmap(number: int, places: int, scale: int) -> NDArray[np.bool_]:
    """Return the last `places` digits of `number`, with leading zeros; true where there is ink."""
    dots = np.zeros((_HEIGHT, _WIDTH * places + 1), dtype=bool)
    for place, digit in enumerate(f"{number % 10**places:0{places}d}"):
        left = _WIDTH * place + 1
        dots[1:8, left : left + 5] = _GLYPHS[int(digit)]
    return dots.repeat(scale, axis=0).repeat(scale, axis=1)


def read(ink: NDArray[np.bool_], places: int, scale: int) -> int:
    """Return the number that `bitmap` drew.

    Raises:
        ValueError: a place holds no digit.
    """
    dots = ink[scale // 2 :: scale, scale // 2 :: scale]
    cells = [dots[1:8, _WIDTH * place + 1 : _WIDTH * place + 6] for place in range(places)]
    return int("".join(str(_digit(cell)) for cell in cells))


def _digit(cell: NDArray[np.bool_]) -> int:
    for digit, glyph in enumerate(_GLYPHS):
        if np.array_equal(cell, glyph):
            return digit
    raise ValueError("expected a digit, got other dots")
