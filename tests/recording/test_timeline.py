import pytest

from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.recording.message import Recorded
from eis.msgbus.recording.timeline import Timeline

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def message(received: float, published: float | None = None, topic: str = "camera1") -> Recorded:
    """A message with these times, in seconds; published when it was received, if nothing else is said."""
    log_time = round(received * SECOND)
    return Recorded(topic, (), log_time, log_time if published is None else round(published * SECOND), 0)


@pytest.mark.parametrize(("speed", "expected"), [(1, [0, 0.5, 2]), (2, [0, 0.25, 1]), (0.5, [0, 1, 4]), (0, [0, 0, 0])])
def test_messages_are_due_as_they_came_when_the_speed_is_taken_into_account(
    speed: float, expected: list[float]
) -> None:
    timeline = Timeline(speed)
    assert [timeline.due(message(at)) for at in (100, 100.5, 102)] == pytest.approx(expected)


def test_messages_keep_the_rhythm_of_their_publisher_when_their_way_took_longer() -> None:
    timeline = Timeline(1)
    assert [timeline.due(message(*times)) for times in ((10, 9.9), (11.4, 10.9), (12, 11.9))] == pytest.approx(
        [0, 1, 2]
    )


def test_topics_stay_together_when_their_publishers_clocks_differ() -> None:
    timeline = Timeline(1)
    times = [(10, 10, "a"), (10.5, 4000, "b"), (11, 11, "a"), (11.5, 4001, "b")]
    assert [timeline.due(message(*each)) for each in times] == pytest.approx([0, 0.5, 1, 1.5])


def test_the_recorders_clock_is_believed_when_the_publishers_was_set() -> None:
    timeline = Timeline(1)
    times = [(10, 10), (11, 11), (12, 4000), (13, 4001)]
    assert [timeline.due(message(*each)) for each in times] == pytest.approx([0, 1, 2, 3])


def test_no_message_is_due_before_the_one_before_it_when_their_order_says_otherwise() -> None:
    timeline = Timeline(1)
    assert [timeline.due(message(at)) for at in (10, 12, 11)] == pytest.approx([0, 2, 2])


def test_it_goes_on_behind_the_last_message_when_it_begins_anew() -> None:
    timeline = Timeline(1)
    first = [timeline.due(message(at)) for at in (10, 12, 13)]
    timeline.again()
    assert first + [timeline.due(message(at)) for at in (10, 12)] == pytest.approx([0, 2, 3, 4, 6])


def test_a_message_is_refused_when_it_came_centuries_after_the_one_before_it() -> None:
    timeline = Timeline(1)
    timeline.due(message(10))
    with pytest.raises(MessageBusError, match="'camera1' is damaged: expected it within a year"):
        timeline.due(message((2**64 - 1) / SECOND))
