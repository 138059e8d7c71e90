import numpy as np
import pytest

from eis.msgbus.tools.demo.messages import MARKED, MOVING, Defect
from eis.msgbus.tools.demo.picture import annotate
from tests.tools.demo.samples import result

GREEN, RED = (70, 220, 130), (255, 82, 82)


@pytest.mark.parametrize(("kind", "colour"), [(MOVING, GREEN), (MARKED, RED)])
def test_a_box_has_the_colour_of_what_is_in_it(kind: int, colour: tuple[int, int, int]) -> None:
    defect = Defect(tl=(400, 300), br=(700, 600), type=kind)
    picture = annotate(np.zeros((1080, 1920, 3), np.uint8), result(1, defects=(defect,)))
    assert picture.size == (1920, 1080)
    assert [picture.getpixel(corner) for corner in ((401, 599), (698, 450))] == [colour, colour]
    assert picture.getpixel((550, 450)) == (0, 0, 0)


def test_colours_are_turned_from_bgr_to_rgb() -> None:
    image = np.zeros((1080, 1920, 3), np.uint8)
    image[...] = (10, 20, 30)
    assert annotate(image, result(1)).getpixel((960, 540)) == (30, 20, 10)


def test_a_grey_frame_stays_grey_when_it_is_drawn_on() -> None:
    grey = np.full((1080, 1920, 1), 90, np.uint8)
    assert annotate(grey, result(1, shape=(1080, 1920, 1))).getpixel((5, 5)) == (90, 90, 90)


@pytest.mark.parametrize("corner", [(0, 0), (1800, 0), (0, 1000), (1800, 1000)])
def test_the_box_is_drawn_when_it_is_in_a_corner(corner: tuple[int, int]) -> None:
    defect = Defect(tl=corner, br=(corner[0] + 120, corner[1] + 80), type=MOVING)
    picture = annotate(np.zeros((1080, 1920, 3), np.uint8), result(1, defects=(defect,)))
    assert GREEN in {color for _, color in picture.getcolors(1 << 20) or []}


def test_a_small_frame_is_drawn_on_when_no_label_fits() -> None:
    small = result(1, shape=(24, 32, 3), defects=(Defect(tl=(2, 2), br=(9, 9), type=MOVING),))
    assert annotate(np.zeros((24, 32, 3), np.uint8), small).size == (32, 24)
