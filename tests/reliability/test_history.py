"""The history checker sees what it is there for."""

import pytest

import eis.msgbus as mb
from tests.reliability.history import History, numbered


def history(*messages: tuple[int, int]) -> History:
    history = History()
    for epoch, number in messages:
        history.take(mb.MsgEnvelope(*numbered(epoch, number)))
    return history


def test_gaps_are_counted_inside_of_an_epoch() -> None:
    seen = history((7, 3), (7, 4), (7, 8), (9, 0), (9, 2))
    assert (seen.received, seen.lost, seen.late, seen.epochs, seen.problems) == (5, 4, 3, 2, [])


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([(7, 0), (7, 1), (7, 1)], "message 1 of epoch 7 came after 1"),
        ([(7, 0), (7, 2), (7, 1)], "message 1 of epoch 7 came after 2"),
        ([(7, 0), (8, 0), (7, 1)], "message 1 of epoch 7 came after the epoch 8"),
    ],
    ids=["twice", "out of order", "from a former life"],
)
def test_broken_promise_is_a_problem(messages: list[tuple[int, int]], problem: str) -> None:
    assert history(*messages).problems == [problem]


@pytest.mark.parametrize("wrong", [({"epoch": 7, "n": 1}, b"x"), ({"epoch": 7, "n": 1}, numbered(7, 2)[1])])
def test_changed_message_is_a_problem(wrong: tuple[dict[str, int], bytes]) -> None:
    history = History()
    history.take(mb.MsgEnvelope(*wrong))
    assert history.problems == ["message 1 of epoch 7 was changed"]
