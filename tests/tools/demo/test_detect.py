import numpy as np
import pytest
from numpy.typing import NDArray

from eis.msgbus.tools.demo.detect import Detector, to_image
from eis.msgbus.tools.demo.messages import MARKED, MOVING, Box, Defect
from eis.msgbus.tools.demo.scene import Scene
from tests.tools.demo.samples import result


def picture(*boxes: tuple[int, int, int, int], shape: tuple[int, int, int] = (1080, 1920, 3)) -> NDArray[np.uint8]:
    """A dark picture with bright boxes (left, top, right, bottom)."""
    image = np.full(shape, 20, np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 200
    return image


def found(*images: NDArray[np.uint8], overlays: tuple[Box, ...] = ()) -> list[Defect]:
    """What is found in the last picture."""
    detector = Detector()
    return [detector.find(image, overlays) for image in images][-1]


def is_around(defect: Defect, box: tuple[int, int, int, int], margin: int = 16) -> bool:
    edges = zip((*defect.tl, *defect.br), box, (-1, -1, 1, 1), strict=True)
    return all(0 <= (edge - wanted) * outwards <= margin for edge, wanted, outwards in edges)


def test_nothing_is_found_in_the_first_picture() -> None:
    assert found(picture((100, 100, 300, 300))) == []


def test_nothing_is_found_when_nothing_moves() -> None:
    assert found(*[picture((100, 100, 300, 300))] * 3) == []


def test_a_box_is_around_a_thing_when_it_appears() -> None:
    (defect,) = found(picture(), picture((400, 200, 600, 350)))
    assert is_around(defect, (400, 200, 600, 350))
    assert defect.type == MOVING


def test_each_thing_has_its_box_when_they_are_apart() -> None:
    defects = found(picture(), picture((100, 100, 200, 200), (1000, 100, 1100, 200), (100, 900, 200, 1000)))
    assert len(defects) == 3


def test_parts_of_a_thing_share_a_box_when_they_nearly_touch() -> None:
    (defect,) = found(picture(), picture((100, 100, 200, 200), (216, 216, 316, 316)))
    assert is_around(defect, (100, 100, 316, 316))


def test_a_thing_is_not_found_any_more_when_it_stands() -> None:
    assert found(picture(), picture((100, 100, 200, 200)), picture((100, 100, 200, 200))) == []


def test_a_speck_is_not_found_when_it_is_smaller_than_the_smallest_thing() -> None:
    assert found(picture(), picture((100, 100, 112, 112))) == []


def test_overlays_are_left_out_when_they_change() -> None:
    assert found(picture(), picture((32, 32, 300, 100)), overlays=(Box((32, 32), (300, 100)),)) == []


def test_a_thing_is_marked_when_it_has_a_red_spot() -> None:
    image = picture((400, 200, 600, 350))
    image[240:280, 480:520] = (40, 30, 215)
    (defect,) = found(picture(), image)
    assert defect.type == MARKED


def test_grey_pictures_are_looked_at_when_they_have_one_channel() -> None:
    shape = (480, 640, 1)
    (defect,) = found(picture(shape=shape), picture((100, 100, 200, 200), shape=shape))
    assert is_around(defect, (100, 100, 200, 200), margin=8)


def test_small_and_odd_pictures_are_looked_at_whole() -> None:
    shape = (37, 53, 3)
    (defect,) = found(picture(shape=shape), picture((40, 20, 53, 37), shape=shape))
    assert (defect.tl, defect.br) == ((39, 19), (53, 37))


def test_the_background_is_new_when_the_size_changes() -> None:
    assert found(picture(), picture((10, 10, 300, 200), shape=(480, 640, 3))) == []


def test_each_whole_part_of_the_scene_has_its_box_when_the_first_pictures_have_faded() -> None:
    scene, detector = Scene(), Detector()
    defects = [detector.find(scene.render(number), scene.overlays) for number in range(1, 200)][-1]
    whole = [defect for defect in defects if defect.tl[0] > 0 and defect.br[0] < 1920]
    assert len(whole) == 6
    assert all(150 < defect.br[0] - defect.tl[0] < 240 for defect in whole)
    assert [defect.type for defect in whole].count(MARKED) == 1


def test_an_image_is_not_a_copy_when_it_is_made_of_a_view() -> None:
    data = bytearray(1080 * 1920 * 3)
    image = to_image(result(1), memoryview(data))
    data[5] = 7
    assert (image.shape, image[0, 1, 2]) == ((1080, 1920, 3), 7)


@pytest.mark.parametrize("view", [memoryview(b"12345"), memoryview(b"")])
def test_an_image_is_refused_when_bytes_are_missing(view: memoryview) -> None:
    with pytest.raises(ValueError, match=rf"^frame 9: expected 1080 x 1920 x 3 bytes, got {view.nbytes}$"):
        to_image(result(9), view)
