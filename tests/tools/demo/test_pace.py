import pytest

from eis.msgbus.tools.demo.pace import Pace


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_frames_are_due_at_the_rate_when_each_is_waited_for() -> None:
    clock = Clock()
    pace = Pace(25, None, clock)
    delays = []
    for _ in range(4):
        delay = pace.delay()
        assert delay is not None
        delays.append(delay)
        clock.now += delay
    assert delays == pytest.approx([0, 0.04, 0.04, 0.04])


@pytest.mark.parametrize(("rate", "seconds", "frames"), [(30, 10, 300), (30, 1, 30), (25, 0.1, 3), (30, 0.001, 1)])
def test_as_many_frames_are_due_as_the_seconds_hold(rate: float, seconds: float, frames: int) -> None:
    clock = Clock()
    pace = Pace(rate, seconds, clock)
    count = 0
    while (delay := pace.delay()) is not None:
        clock.now += delay
        count += 1
    assert count == frames


def test_frames_are_due_at_once_when_the_source_is_a_little_late() -> None:
    clock = Clock()
    pace = Pace(10, None, clock)
    pace.delay()
    clock.now += 0.25
    assert [pace.delay(), pace.delay(), pace.delay()] == [0, 0, pytest.approx(0.05)]


def test_frames_are_due_from_now_on_when_the_source_fell_far_behind() -> None:
    clock = Clock()
    pace = Pace(10, None, clock)
    pace.delay()
    clock.now += 5
    assert [pace.delay(), pace.delay()] == [0, pytest.approx(0.1)]


def test_a_camera_is_never_waited_for_when_it_sets_the_pace() -> None:
    clock = Clock()
    pace = Pace(None, 1, clock)
    delays = []
    for _ in range(3):
        delays.append(pace.delay())
        clock.now += 0.4
    assert [*delays, pace.delay()] == [0, 0, 0, None]
