import pytest

from eis.msgbus.recording.backlog import Backlog
from eis.msgbus.recording.message import Part, Recorded
from tests.meeting import DEADLINE, threads


def message(size: int = 10, topic: str = "camera1", at: int = 5) -> Recorded:
    return Recorded(topic, (Part(None, None, bytes(size)),), at, at, 0)


def test_messages_are_dropped_and_counted_when_they_have_no_room() -> None:
    backlog = Backlog(2 * message(topic="a").memory + 5, None)
    assert all(backlog.put(message(topic=topic)) for topic in ("a", "a", "b", "c", "c"))
    assert backlog.dropped == {"b": 1, "c": 2}
    assert backlog.get(0) is not None
    assert backlog.put(message(topic="b"))
    assert backlog.dropped == {"b": 1, "c": 2}


def test_a_message_is_taken_when_it_is_alone_and_larger_than_all_the_room() -> None:
    backlog = Backlog(25, None)
    backlog.put(message(100))
    assert backlog.dropped == {}
    assert backlog.get(0) == message(100)


def test_each_message_has_a_log_time_of_its_own_when_they_come_at_once() -> None:
    backlog = Backlog(100_000, None)
    for at in (5, 5, 4, 9):
        backlog.put(message(at=at))
    found = [backlog.get(0) for _ in range(4)]
    assert [each.log_time for each in found if each] == [5, 6, 7, 9]


def test_no_more_are_taken_when_the_count_is_reached() -> None:
    backlog = Backlog(100_000, 2)
    assert [backlog.put(message()) for _ in range(3)] == [True, False, False]
    assert (backlog.ended, backlog.drained, backlog.dropped) == (True, False, {})
    assert [backlog.get(DEADLINE) is None for _ in range(3)] == [False, False, True]
    assert backlog.drained


def test_nothing_is_there_when_nothing_comes_in_time() -> None:
    assert Backlog(100_000, None).get(0) is None


def test_who_waits_for_a_message_is_told_when_the_end_comes() -> None:
    backlog = Backlog(100_000, None)
    with threads() as other:
        waiting = other.submit(backlog.get, DEADLINE)
        backlog.end()
        assert waiting.result() is None


def test_what_is_left_is_counted_when_it_is_discarded() -> None:
    backlog = Backlog(100_000, None)
    backlog.put(message())
    backlog.discard()
    assert (backlog.dropped, backlog.drained) == ({"camera1": 1}, True)


def test_losses_are_counted_together_when_somebody_makes_up_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eis.msgbus.recording.backlog._MOST", 2)
    backlog = Backlog(1, None)
    backlog.put(message())
    for topic in ("a", "b", "c", "b", "x" * 513):
        assert backlog.put(message(topic=topic))
    backlog.drop(message(topic="d"))
    assert backlog.dropped == {"a": 1, "b": 2, "(others)": 3}


def test_no_topic_is_kept_when_it_is_longer_than_the_bus_lets_it_be() -> None:
    backlog = Backlog(100_000, None)
    assert backlog.put(message(topic="x" * 513))
    assert backlog.put(message(topic="x" * 512))
    assert backlog.dropped == {"(others)": 1}
    assert backlog.get(0) == message(topic="x" * 512)
