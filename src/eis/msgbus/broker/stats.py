"""What went through a broker, by topic. Reads no socket."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

__all__ = ["BrokerStats", "Counters", "TopicStats"]

_MOST = 10_000  # topics of a publisher that makes up names
_OTHERS = "(others)"


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
            counts = self._topics.setdefault(name if len(self._topics) < _MOST else _OTHERS.encode(), [0, 0, 0, 0])
        return counts

    def stats(self, subscriptions: Mapping[bytes, int]) -> dict[str, TopicStats]:
        """Return the counts by topic; `subscriptions` says how many want what begins with each prefix."""
        return {
            name.removesuffix(b"\0").decode(errors="replace"): TopicStats(
                messages,
                size,
                dropped,
                refused,
                sum(subscriptions[each] for each in subscriptions if name.startswith(each)),
            )
            for name, (messages, size, dropped, refused) in self._topics.items()
        }
