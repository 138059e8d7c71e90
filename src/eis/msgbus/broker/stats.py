"""What went through a broker, by topic. Reads no socket."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

__all__ = ["BrokerStats", "Counters", "TopicStats", "by_topic"]

_MOST = 10_000  # topics of a publisher that makes up names
_LONGEST = 513  # bytes of a name frame
_OTHERS = b"(others)"


@dataclasses.dataclass(frozen=True)
class TopicStats:
    """Count one topic: what came, in bytes of all its frames; what some subscriber missed; who subscribes now.

    `dropped` are messages that did not fit the queue of some subscriber, `refused` those that the publisher may not
    publish.
    """

    messages: int = 0
    bytes: int = 0
    dropped: int = 0
    refused: int = 0
    subscribers: int = 0


@dataclasses.dataclass(frozen=True)
class BrokerStats:
    """Count a broker. `topics` are None where messages are not counted.

    `publishers` and `subscribers` are how often clients were let in, by name, where there is a list; `refused` is how
    many connections, subscriptions and messages were turned away.
    """

    topics: Mapping[str, TopicStats] | None
    publishers: Mapping[str, int]
    subscribers: Mapping[str, int]
    refused: int


class Counters:
    """Count as messages pass."""

    def __init__(self) -> None:
        self._topics: dict[bytes, list[int]] = {}

    def of(self, name: bytes) -> list[int]:
        """Return the counts of the topic with this name frame: messages, bytes, dropped, refused."""
        counts = self._topics.get(name)
        if counts is None:
            known = len(name) <= _LONGEST and len(self._topics) < _MOST
            counts = self._topics.setdefault(name if known else _OTHERS, [0, 0, 0, 0])
        return counts

    def copied(self) -> dict[bytes, Sequence[int]]:
        """Return the counts of now, by name frame."""
        return {name: tuple(counts) for name, counts in self._topics.items()}


def by_topic(counted: Mapping[bytes, Sequence[int]], subscriptions: Mapping[bytes, int]) -> dict[str, TopicStats]:
    """Return counts by topic; `subscriptions` says how many want what begins with each prefix."""
    stats: dict[str, TopicStats] = {}
    for name, (messages, size, dropped, refused) in counted.items():
        topic = name.removesuffix(b"\0").decode(errors="replace")
        before = stats.get(topic, TopicStats())  # the NUL may be missing
        stats[topic] = TopicStats(
            before.messages + messages,
            before.bytes + size,
            before.dropped + dropped,
            before.refused + refused,
            max(before.subscribers, sum(subscriptions.get(name[:length], 0) for length in range(len(name) + 1))),
        )
    return stats
