"""The screens in the documentation are those that the commands show."""

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs import pictures

pytestmark = pytest.mark.once

TEXT = re.compile(r"<text [^>]*>(.*?)</text>", re.DOTALL)


def words(drawing: Path) -> list[str]:
    """The words of a picture, without figures and columns."""
    text = html.unescape(" ".join(TEXT.findall(drawing.read_text()))).replace("\xa0", " ")
    return re.sub(r"\d[\d.:]*", "0", text).replace("─", "").split()


@pytest.mark.parametrize("draw", [pictures.draw_top, pictures.draw_sub], ids=["top", "sub"])
def test_the_screen_of_a_command_is_that_of_the_documentation(draw: Callable[[Path], None], tmp_path: Path) -> None:
    name = f"{draw.__name__.removeprefix('draw_')}.svg"
    draw(tmp_path / name)
    assert words(tmp_path / name) == words(pictures.IMAGES / name)  # `make plots` renews it


@pytest.mark.parametrize("name", ["top.svg", "sub.svg", "deployment.svg"])
def test_a_picture_needs_nothing_from_elsewhere(name: str) -> None:
    drawing = (pictures.IMAGES / name).read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert re.findall(r"(?:href|src|url)\W+http\S*", drawing) == []
