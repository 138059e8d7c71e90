"""A drawing in SVG, shape by shape. Does not know what is drawn."""

from html import escape

from eis.msgbus.tools.stderr import printable

__all__ = ["Svg", "width_of"]

_FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
_WIDE = 0.66  # of the size of letters: no usual font is wider, on average of a word


def width_of(text: str, size: float = 12) -> float:
    """Return how much room a text needs at most."""
    return sum(_WIDE if char.isascii() else 1.0 for char in printable(text)) * size


class Svg:
    """Collect shapes, and be the text of a file."""

    def __init__(self) -> None:
        self._shapes: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12,
        anchor: str = "start",
        fill: str = "#222",
        bold: bool = False,
    ) -> None:
        """Write text whose baseline is at `y`."""
        weight = ' font-weight="bold"' if bold else ""
        place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" fill="{fill}"'
        self._shapes.append(f"<text {place}{weight}>{escape(printable(text))}</text>")

    def box(
        self, x: float, y: float, width: float, height: float, *, fill: str, line: str = "none", corner: float = 4
    ) -> None:
        """Draw a rectangle."""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{corner:g}"'
        self._shapes.append(f'<rect {place} fill="{fill}" stroke="{line}"/>')

    def line(self, path: str, *, color: str, width: float = 1.5, dashes: str = "") -> None:
        """Draw a path, without filling it."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._shapes.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{width:g}"{dashed}/>')

    def arrow(self, x: float, y: float, *, color: str, left: bool = False) -> None:
        """Draw the head of an arrow whose point is there."""
        back = 9 if left else -9
        self._shapes.append(f'<path d="M{x:.1f} {y:.1f}l{back} -4.5v9z" fill="{color}"/>')

    def page(self, width: float, height: float) -> str:
        """Return the whole drawing, on white."""
        size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}">'
        return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *self._shapes, "</svg>"]) + "\n"
