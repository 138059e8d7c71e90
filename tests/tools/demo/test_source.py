from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from eis.msgbus.tools.demo.control import DemoError
from eis.msgbus.tools.demo.scene import read_counter
from eis.msgbus.tools.demo.source import opened
from tests.tools.demo.films import RATE, film


def test_the_scene_is_played_with_a_counter_from_one_when_no_source_is_named() -> None:
    with opened(None) as source:
        assert [read_counter(frame) for frame in islice(source.frames, 3)] == [1, 2, 3]
        assert (source.rate, len(source.overlays)) == (30, 1)


def test_a_film_is_played_whole_and_at_its_own_rate(tmp_path: Path) -> None:
    with opened(str(film(tmp_path / "film.avi", 12))) as source:
        frames = list(source.frames)
    assert [read_counter(frame) for frame in frames] == list(range(1, 13))
    assert (source.rate, source.overlays) == (RATE, [])


def test_each_frame_of_a_film_is_an_array_of_its_own(tmp_path: Path) -> None:
    with opened(str(film(tmp_path / "film.avi", 2))) as source:
        first, second = source.frames
    assert not np.shares_memory(first, second)
    assert first.flags.c_contiguous


def test_a_film_of_another_size_is_played_as_it_is(tmp_path: Path) -> None:
    with opened(str(film(tmp_path / "film.avi", 1, width=320, height=200))) as source:
        (frame,) = source.frames
    assert frame.shape == (200, 320, 3)


def test_a_file_is_refused_when_it_is_no_film(tmp_path: Path) -> None:
    text = tmp_path / "film.mp4"
    text.write_text("no film")
    with pytest.raises(DemoError, match=r"^expected a film or camera that OpenCV can open, got '"), opened(str(text)):
        pass


class Unplugged:
    """A camera that gives two frames and is then no more there."""

    def __init__(self, number: int) -> None:
        assert number == 7
        self._left = 2

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return True

    def get(self, _: int) -> float:
        return 60.0

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        self._left -= 1
        return (True, np.zeros((48, 64, 3), np.uint8)) if self._left >= 0 else (False, None)

    def release(self) -> None:
        self._left = 0


def test_a_camera_is_an_error_when_it_gives_no_more_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Unplugged)
    with opened("7") as source:
        assert source.rate is None
        assert len(list(islice(source.frames, 2))) == 2
        with pytest.raises(DemoError, match=r"^camera '7': expected another frame, got none$"):
            next(source.frames)
