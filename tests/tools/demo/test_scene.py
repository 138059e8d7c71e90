import numpy as np
import pytest

from eis.msgbus.tools.demo import digits
from eis.msgbus.tools.demo.scene import Scene, counter, read_counter


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def test_a_frame_is_1080p_bgr_and_contiguous_whenever_it_is_rendered(scene: Scene) -> None:
    frame = scene.render(1)
    assert (frame.shape, frame.dtype.name, frame.flags.c_contiguous) == ((1080, 1920, 3), "uint8", True)


def test_a_frame_is_an_array_of_its_own_when_the_next_is_rendered(scene: Scene) -> None:
    first = scene.render(1)
    before = first.copy()
    assert not np.shares_memory(first, scene.render(2))
    assert np.array_equal(first, before)


@pytest.mark.parametrize("number", [0, 1, 42, 234567, 918273])
def test_the_counter_reads_as_the_number_when_it_is_burnt_in(scene: Scene, number: int) -> None:
    assert read_counter(scene.render(number)) == number


def test_the_counter_starts_again_when_its_places_are_full(scene: Scene) -> None:
    assert read_counter(scene.render(1_000_007)) == 7


def test_the_counter_is_refused_when_it_is_painted_over(scene: Scene) -> None:
    frame = scene.render(3)
    counter(frame)[...] = 255
    with pytest.raises(ValueError, match="expected a digit"):
        read_counter(frame)


def test_the_overlay_is_where_the_counter_is_when_asked(scene: Scene) -> None:
    (overlay,) = scene.overlays
    frame = scene.render(5)
    (left, top), (right, bottom) = overlay.tl, overlay.br
    assert np.shares_memory(frame[top:bottom, left:right], counter(frame))
    assert frame[top:bottom, left:right].shape == counter(frame).shape


def test_parts_have_moved_when_the_next_frame_comes(scene: Scene) -> None:
    changed = (scene.render(10) != scene.render(11)).any(axis=2)
    rows = changed.any(axis=1)
    assert [bool(rows[y]) for y in (300, 590, 880, 1060)] == [True, True, True, False]


@pytest.mark.parametrize("scale", [1, 3, 8])
def test_a_bitmap_has_the_size_that_is_told_at_every_scale(scale: int) -> None:
    assert digits.bitmap(7, 4, scale).shape == digits.size(4, scale)
    assert digits.read(digits.bitmap(9070, 4, scale), 4, scale) == 9070
