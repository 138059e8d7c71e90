"""One subscription and what came of it, from metadata alone. Does not know how it is shown."""

import contextlib
import dataclasses
from typing import Any

from eis.msgbus import MessageBusAuthenticationFailed, MsgEnvelope, aio
from eis.msgbus.tools.doctor import ENDED

__all__ = ["Row", "Watched"]

_MOST_NAMES = 200  # of topics, at an address where somebody makes them up
_LARGEST = 1_000_000  # width, height or channels of a frame


@dataclasses.dataclass(frozen=True)
class Row:
    """Say what came of a subscription, or of one of several topics in it, in the time of a report.

    `frame_megabytes` is that of raw frames as their metadata describe them; None: of none. `subscribers` are those of
    the last message's topic, this command not counted; None: the publisher does not tell. What is known of the
    connection as a whole is None in the row of one of several topics; `lost` and `restarts` are since the beginning.
    """

    topic: str
    source: str
    rate: float
    frame_megabytes: float | None
    latency: float | None
    lost: int | None = None
    restarts: int | None = None
    form: str | None = None
    state: str | None = None
    reason: str | None = None
    part: bool = False
    subscribers: int | None = None


class _Count:
    """Count what came of one topic; `subscribers` is known from before."""

    def __init__(self, subscribers: int | None = None) -> None:
        self.messages = self.frame_bytes = 0
        self.latencies: list[float] = []
        self.subscribers = subscribers

    def take(self, envelope: MsgEnvelope[Any]) -> None:
        self.messages += 1
        self.frame_bytes += _frame_bytes(envelope.meta_data)
        if envelope.latency is not None and envelope.subscribers is not None:
            self.latencies.append(envelope.latency)
            self.subscribers = max(0, envelope.subscribers - 1)


class Watched:
    """Subscribe to a topic, or to all that begin so, and count what comes. The blobs stay with their publisher."""

    def __init__(self, source: str, bus: aio.MsgbusContext, topic: str) -> None:
        self._source, self._topic = source, topic
        self._subscriber = bus.new_subscriber(topic, metadata_only=True)
        self._counts: dict[str, _Count] = {}
        self._was_there = False
        self._no_publisher = False

    async def follow(self) -> None:
        """Count messages until the subscriber is closed."""
        while self._subscriber.status.state != "closed":
            with contextlib.suppress(MessageBusAuthenticationFailed):  # the status says it, and it is tried again
                async for envelope in self._subscriber:
                    self._count(envelope.name or "").take(envelope)

    def rows(self, seconds: float) -> list[Row]:
        """Return what came in so many seconds, and begin anew: a row, and one for each topic where there are others."""
        self._look()
        counts = dict(sorted(self._counts.items()))
        self._counts = {name: _Count(count.subscribers) for name, count in counts.items()}
        whole = self._whole(list(counts.values()), seconds)
        if counts.keys() <= {self._topic}:
            return [whole]
        return [whole, *(self._row(name, [count], seconds, part=True) for name, count in counts.items())]

    def _count(self, name: str) -> _Count:
        if name not in self._counts and len(self._counts) >= _MOST_NAMES:
            name = self._topic  # counts for the subscription all the same
        return self._counts.setdefault(name, _Count())

    def _look(self) -> None:
        """Give up where a service listens, or something else: it would be disturbed again and again."""
        status = self._subscriber.status
        self._was_there |= status.state in ("connected", "stalled") or bool(self._counts)
        if status.reason == ENDED and not self._was_there:
            self._no_publisher = True
            self._subscriber.close()

    def _whole(self, counts: list[_Count], seconds: float) -> Row:
        stats, status = self._subscriber.stats, self._subscriber.status
        state, reason = ("no publisher", ENDED) if self._no_publisher else (status.state, status.reason)
        return dataclasses.replace(
            self._row(self._topic, counts, seconds),
            lost=stats.lost,
            restarts=stats.restarts,
            form=stats.form,
            state=state,
            reason=reason,
        )

    def _row(self, topic: str, counts: list[_Count], seconds: float, *, part: bool = False) -> Row:
        latencies = sorted(latency for count in counts for latency in count.latencies)
        frame_bytes = sum(count.frame_bytes for count in counts)
        return Row(
            topic,
            self._source,
            sum(count.messages for count in counts) / seconds,
            frame_bytes / 1e6 / seconds if frame_bytes else None,
            latencies[len(latencies) // 2] if latencies else None,
            part=part,
            subscribers=counts[0].subscribers if len(counts) == 1 else None,
        )


def _frame_bytes(meta_data: Any) -> int:
    """Return the size of the raw frame that metadata of EIS/EII describe; 0: they describe none."""
    match meta_data:
        case {"encoding_type": str(encoding)} if encoding:
            return 0
        case {"width": int(width), "height": int(height), "channels": int(channels)}:
            sides = (width, height, channels)
            return width * height * channels if all(0 < side <= _LARGEST for side in sides) else 0
        case _:
            return 0
