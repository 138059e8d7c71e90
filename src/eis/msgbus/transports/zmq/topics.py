"""What is published at one address: topics, how far each has come, and in which forms it is wanted. Sends nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from eis.msgbus._wire.native import METADATA, PLAIN, SHARED, WHOLE, stream_prefix

__all__ = ["Topic", "Topics"]

_MOST_TOLD = 65_535
_FORMS = (PLAIN, WHOLE, METADATA, SHARED)


class Topic:
    """Number the messages of one topic, and know the `forms` that somebody wants; `name` is its frame.

    `plain_only` and `only` are for the two usual cases: the first tells that it is the plain form alone, the second is
    the prefix of the native form that is alone. `told` is the number of subscriptions, as far as a message can tell it.
    `noticed` counts the messages that went past ZeroMQ, to all that frames are shared with. A topic that is
    `always_plain` is sent so, whoever is there: where nobody tells reliably who subscribes.
    """

    def __init__(self, name: bytes, epoch: int, *, always_plain: bool) -> None:
        self.name = name
        self.sequence = self.noticed = 0
        self.prefixes = {form: stream_prefix(form, name, epoch) for form in _FORMS if form}
        self._wanted = dict.fromkeys(_FORMS, 0)
        self._always_plain = always_plain
        self._renew()

    @property
    def subscribers(self) -> int:
        """Return how many subscriptions the topic has."""
        return sum(self._wanted.values())

    @property
    def shared_with(self) -> int:
        """Return how many subscriptions want frames in shared memory."""
        return self._wanted[SHARED]

    def want(self, form: bytes, count: int) -> None:
        """Take notice that so many more subscriptions, or fewer, want a form."""
        self._wanted[form] += count
        self._renew()

    def _renew(self) -> None:
        forms = [form for form in _FORMS if self._wanted[form]]
        if self._always_plain and PLAIN not in forms:
            forms.insert(0, PLAIN)
        self.forms = tuple(forms)
        self.told = min(self.subscribers, _MOST_TOLD)
        self.plain_only = self.forms == (PLAIN,)
        self.only = self.prefixes.get(forms[0]) if len(forms) == 1 else None


class Topics:
    """Hold the topics of one socket; they keep their numbers as long as it is open."""

    def __init__(self, *, always_plain: bool) -> None:
        self.epoch = random.SystemRandom().getrandbits(64)
        self._always_plain = always_plain
        self._topics: dict[bytes, Topic] = {}

    def open(self, name: bytes, wanted: Callable[[bytes], Iterable[bytes]]) -> Topic:
        """Return the topic with this name frame; `wanted` returns the forms of the subscriptions that it has."""
        if name not in self._topics:
            topic = self._topics[name] = Topic(name, self.epoch, always_plain=self._always_plain)
            for form in wanted(name):
                topic.want(form, 1)
        return self._topics[name]

    def want(self, prefix: bytes, form: bytes, count: int) -> None:
        """Take notice that so many more subscriptions, or fewer, to all that begins with `prefix` want a form."""
        for name, topic in self._topics.items():
            if name.startswith(prefix):
                topic.want(form, count)

    def through_zmq(self, prefix: bytes) -> int:
        """Return how many messages of the topics that begin with `prefix` went through ZeroMQ, to all or some."""
        topics = self._topics.items()
        return sum([topic.sequence - topic.noticed for name, topic in topics if name.startswith(prefix)])

    def sequences(self, prefix: bytes) -> dict[str, int]:
        """Return the numbers of the last messages, by the names of the topics that begin with `prefix`."""
        beginning = {name: topic.sequence for name, topic in self._topics.items() if name.startswith(prefix)}
        return {name[:-1].decode(): sequence for name, sequence in beginning.items()}
