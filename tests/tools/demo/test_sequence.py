from hypothesis import given
from hypothesis import strategies as st

from eis.msgbus.tools.demo.sequence import Sequence


def seen(*numbers: int, total: int | None = None) -> Sequence:
    sequence = Sequence()
    for number in numbers:
        sequence.see(number)
    sequence.end(max(numbers, default=0) if total is None else total)
    return sequence


def test_nothing_is_lost_when_every_number_arrives() -> None:
    sequence = seen(1, 2, 3)
    assert (sequence.seen, sequence.lost, sequence.missing) == (3, 0, "")


def test_the_first_numbers_are_lost_when_a_later_one_comes_first() -> None:
    assert seen(3).missing == "1-2"


def test_a_gap_is_lost_when_it_is_passed_over() -> None:
    sequence = seen(1, 2, 4, 8)
    assert (sequence.seen, sequence.lost, sequence.missing) == (4, 4, "3, 5-7")


def test_the_last_numbers_are_lost_when_the_total_is_higher() -> None:
    sequence = seen(1, 2, total=5)
    assert (sequence.lost, sequence.missing) == (3, "3-5")


def test_everything_is_lost_when_nothing_arrives() -> None:
    assert seen(total=7).lost == 7


def test_a_number_is_disordered_when_a_higher_one_came_before() -> None:
    sequence = seen(1, 3, 2, 3)
    assert (sequence.seen, sequence.lost, sequence.disordered) == (2, 1, 2)


def test_ten_gaps_are_named_when_there_are_more() -> None:
    assert seen(*range(2, 30, 2)).missing == "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, ..."


@given(st.sets(st.integers(1, 200)), st.integers(0, 50))
def test_seen_and_lost_make_the_total_whatever_is_missing(numbers: set[int], more: int) -> None:
    total = max(numbers, default=0) + more
    sequence = seen(*sorted(numbers), total=total)
    assert (sequence.seen, sequence.lost) == (len(numbers), total - len(numbers))
