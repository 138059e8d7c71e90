"""What went through a broker, by topic. Reads no socket."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

__all__ = ["BackendStats", "BrokerStats", "Counters", "LastValueStats", "ServiceStats", "TopicStats", "by_topic"]

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
class LastValueStats:
    """Tell how many last values are kept now, in bytes of their frames; count those `given` to who came late.

    `forgotten` are those for which there was no room, `missed` those that a new subscriber did not get: its queue was
    full, it had left, or too many subscribed at a time.
    """

    topics: int = 0
    bytes: int = 0
    given: int = 0
    forgotten: int = 0
    missed: int = 0


@dataclasses.dataclass(frozen=True)
class BackendStats:
    """Tell how a service is reached: a `connected` one takes requests, a `silent` one owes an answer."""

    address: str
    state: str
    answered: int


@dataclasses.dataclass(frozen=True)
class ServiceStats:
    """Count the requests to one name, and say how they ended; all other counts together are `requests`.

    `waiting` are those that wait for a service now, `taken` those that a service has now. `answered` got their reply,
    which was `dropped` where who asked was gone, or its queue full. `lost` had a service that went away before it
    answered, `unanswered` one that did not answer in time: what these did, nobody knows. No service has seen those that
    `expired`, which none took in time, those that were `refused` because too many waited, and the `malformed`, which
    are no messages, or larger than a side takes; if the reply is too large, a service has.
    """

    requests: int = 0
    answered: int = 0
    lost: int = 0
    unanswered: int = 0
    expired: int = 0
    refused: int = 0
    malformed: int = 0
    waiting: int = 0
    taken: int = 0
    dropped: int = 0
    backends: tuple[BackendStats, ...] = ()


@dataclasses.dataclass(frozen=True)
class BrokerStats:
    """Count a broker. `topics` are None where messages are not counted, `last_values` where none are kept.

    `publishers` and `subscribers` are how often clients were let in, by name, where there is a list; `refused` is how
    many connections, subscriptions and messages were turned away.
    """

    topics: Mapping[str, TopicStats] | None = None
    publishers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    subscribers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    refused: int = 0
    services: Mapping[str, ServiceStats] = dataclasses.field(default_factory=dict)
    last_values: LastValueStats | None = None


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
