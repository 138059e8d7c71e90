"""What is in a recording, published once more. Does not know how the publishers were made, nor what waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from eis.msgbus.context import Publisher
from eis.msgbus.recording.message import Recorded, unpack
from eis.msgbus.recording.reader import Recording
from eis.msgbus.recording.recordings import Recordings
from eis.msgbus.recording.timeline import Timeline

__all__ = ["Replay"]

_PATIENCE = 1.0
"""Seconds of delay that are made up for: a busy machine's hiccup, not a disk that is too slow, or a pause."""


class Replay:
    """Publish the messages of those topics that have a publisher.

    `published` counts them; `latest` is the largest delay of one, in seconds; None at speed 0, which has no delays.
    """

    def __init__(
        self,
        recording: Recording | Recordings,
        publishers: Mapping[str, Publisher],
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.published = 0
        self.latest: float | None = 0.0 if speed else None
        self._recording = recording
        self._publishers = publishers
        self._timeline = Timeline(speed)
        self._clock = clock
        self._began: float | None = None

    def once(self, wait: Callable[[float], object]) -> Iterator[Recorded]:
        """Publish each message when it is due, and yield it; `wait` waits for so many seconds.

        A second time goes on behind the first.
        """
        for message in self._recording.messages():
            if (publisher := self._publishers.get(message.topic)) is None:
                continue
            envelope = unpack(message)
            self._await(self._timeline.due(message), wait)
            publisher.publish(envelope)
            self.published += 1
            yield message
        self._timeline.again()

    def _await(self, due: float, wait: Callable[[float], object]) -> None:
        if self._began is None:
            self._began = self._clock() - due
        wait(max(0.0, self._began + due - self._clock()))
        late = self._clock() - self._began - due
        self.latest = None if self.latest is None else max(self.latest, late)
        if late > _PATIENCE:
            self._began += late
