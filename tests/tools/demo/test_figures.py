import pytest

from eis.msgbus.tools.demo.figures import Figures, percentile
from eis.msgbus.tools.demo.messages import End
from tests.tools.demo.samples import result, viewer


def played(count: int) -> Figures:
    """25 frames a second; each arrives after 2 ms, its result after 5 ms."""
    figures = Figures()
    for number in range(1, count + 1):
        figures.add(result(number, at_ms=40 * number), viewer(number, 40 * number + 5))
    return figures


def test_there_are_no_rows_when_nothing_arrived() -> None:
    figures = Figures()
    assert (figures.rows(), figures.seconds, figures.lost) == ([], 0.0, 0)


def test_rates_are_between_the_first_and_the_last_result_when_no_moment_is_given() -> None:
    ingestion, analytics, seen = played(51).rows()
    assert [row.frames_per_second for row in (ingestion, analytics, seen)] == [25, 25, 25]
    assert ingestion.gigabytes_per_second == pytest.approx(0.15552)
    assert [row.cpu_percent for row in (ingestion, analytics, seen)] == pytest.approx([7.5, 15, 2.5])


def test_rates_are_since_a_moment_when_it_is_given() -> None:
    figures = played(10)
    moment = figures.last
    figures.add(result(11, at_ms=1400), viewer(11, 1405))
    assert [row.frames_per_second for row in figures.rows(moment)] == [1, 1, 1]


def test_rates_are_zero_when_there_is_but_one_result() -> None:
    assert [row.frames_per_second for row in played(1).rows()] == [0, 0, 0]


def test_latencies_are_since_the_frame_was_sent() -> None:
    ingestion, analytics, seen = played(9).rows()
    assert (ingestion.p50_ms, analytics.p50_ms, seen.p99_ms) == (None, 2, 5)


def test_nothing_is_lost_when_the_end_agrees() -> None:
    figures = played(9)
    figures.end(End(9))
    assert (figures.received, figures.lost) == (9, 0)


def test_results_are_lost_when_analytics_sent_more() -> None:
    figures = played(9)
    figures.end(End(12))
    assert (figures.lost_frames, figures.lost_results) == (0, 3)


def test_a_frame_is_lost_but_no_result_when_analytics_never_saw_it() -> None:
    figures = Figures()
    figures.add(result(1), viewer(1, 5))
    figures.add(result(3, counted=2), viewer(2, 9))
    figures.end(End(2, lost=1, missing="2"))
    assert (figures.lost_frames, figures.lost_results, figures.missing) == (1, 0, "2")


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (1, 1), (0, 1)])
def test_a_percentile_is_a_value_that_occurred(percent: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


@pytest.mark.parametrize(("values", "expected"), [([], None), ([7], 7), ([1, 2, 3], 2)])
def test_a_median_is_the_middle_value_when_there_is_one(values: list[float], expected: float | None) -> None:
    assert percentile(values, 50) == expected
