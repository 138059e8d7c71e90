"""What endpoints do with messages that come, however their programs wait."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from typing import Any, Generic, TypeVar

from eis.msgbus._channel import Channel, Counts, Waitable
from eis.msgbus._endpoint import profiling
from eis.msgbus._endpoint.bus import Bus, Endpoint, Stats
from eis.msgbus._endpoint.newest import NewestChannel, how_many
from eis.msgbus._waiting import Deadline
from eis.msgbus._wire import Decoder, encode_name
from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import InvalidMessage, MessageBusError, NoMessage, ReceiveTimeout

__all__ = ["LOOKS", "DecodingEndpoint", "ReceivingEndpoint", "SubscriberEndpoint", "decoder"]

M = TypeVar("M")

_log = logging.getLogger("eis.msgbus")

LOOKS = 16
"""So many batches of refused messages in a row, before the time limit is looked at."""
_WARN_EVERY = 10.0  # seconds between two warnings of one endpoint about messages that it refuses


class DecodingEndpoint(Endpoint, Generic[M]):
    """Refuse messages that break the rules, and count them."""

    def __init__(self, bus: Bus, name: str, channel: Waitable, decode: Decoder[M]) -> None:
        super().__init__(bus, name, channel)
        self._decode = decode
        self._malformed = self._unfit = 0
        self._quiet = Deadline(0)

    def _count(self, error: InvalidMessage) -> None:
        with self._guard:
            if error.where:
                self._unfit += 1
            else:
                self._malformed += 1

    def _refuse(self, error: InvalidMessage) -> None:
        """Log what a stranger sent, now and then."""
        if self._quiet.left() == 0:
            self._quiet = Deadline(_WARN_EVERY)
            _log.warning("%s refuses a message: %s", self._title, error)

    def _nothing(self, limit: str | None) -> ReceiveTimeout:
        if limit is None:
            return NoMessage(f"{self._title}: no message is there")
        return ReceiveTimeout(f"{self._title}: no message within {limit}")

    def _stats(self, counts: Counts) -> Stats:
        stats = super()._stats(counts)
        received = counts.received - self._malformed - self._unfit
        refused = counts.refused + self._unfit
        return dataclasses.replace(stats, received=received, malformed=self._malformed, refused=refused)


class ReceivingEndpoint(DecodingEndpoint[M]):
    """Take messages out of a channel, and keep what came with the one that is handed out."""

    _channel: Channel

    def __init__(self, bus: Bus, name: str, channel: Channel, decode: Decoder[M]) -> None:
        super().__init__(bus, name, channel, decode)
        self._ready: deque[MsgEnvelope[M]] = deque()
        self._keep = self._ready.append
        self._unread = 0
        self._found: object = None  # another one after each look that found something

    def _take(self, mine: int = 0) -> MsgEnvelope[M] | None:
        """Return the next message, None if none has come; wake those who wait, other than `mine`, if there are more."""
        found = self._found
        if not self._ready:
            with self._guard:  # what one thread took out is kept before what the next one takes
                if not self._ready:
                    self._refill()
            if len(self._waiters) > mine and self._ready:
                self._channel.wake()
        try:
            return self._ready.popleft()
        except IndexError:
            if self._found is not found:  # others had it all, and there may be more
                self._channel.wake()
            return None

    def _moved_on(self, found: object = None) -> bool:
        """Tell whether another thread closed, or found something since `_found` was `found`.

        It may have done so before the caller was counted as one who waits. Of a requester `_found` never changes.
        """
        return self._closed or bool(self._ready) or self._found is not found

    def _take_waiting(self) -> MsgEnvelope[M] | None:
        return self._take(1)

    def _refill(self) -> None:
        """Take what has come, and look again while all of it is refused: the next may be behind it already."""
        self._check_open()
        for _ in range(LOOKS):
            try:
                messages = self._channel.receive()
            except MessageBusError as error:
                raise self._named(error) from error
            for problem in self._decode.each(messages, self._keep):
                self._count(problem)
                self._refuse(problem)
            if messages:
                self._found = object()
            if self._ready:
                return
            if not messages:
                self._check_still_open()
                return
        self._channel.wake()  # a stranger who sends without pause does not keep the program from its time limit

    def _stats(self, counts: Counts) -> Stats:
        stats = super()._stats(counts)
        return dataclasses.replace(stats, received=stats.received - self._unread - len(self._ready))

    def close(self) -> None:
        """Close the endpoint; whoever waits in it gets an error. What was sent is still delivered."""
        super().close()
        self._forget()

    def _be_inherited(self) -> None:
        super()._be_inherited()
        self._ready.clear()

    def _forget(self) -> None:
        """Drop what was taken but not handed out."""
        while self._ready:
            self._ready.popleft()
            self._unread += 1


def decoder(type: Any = None, *, metadata_only: bool = False) -> Decoder[Any]:
    try:
        return Decoder(dict if type is None else type, metadata_only=metadata_only)
    except TypeError as error:
        raise MessageBusError(f"type: expected a msgspec Struct or a dataclass: {error}") from error


class SubscriberEndpoint(ReceivingEndpoint[M]):
    """Receive every message whose topic begins with a prefix."""

    kind = "subscriber"

    def __init__(
        self,
        bus: Bus,
        topic: str,
        type: Any = None,
        keep_last: Any = None,
        keep: Any = None,
        *,
        metadata_only: bool = False,
    ) -> None:
        encode_name(topic)
        decode = decoder(type, metadata_only=metadata_only)
        kept = how_many(keep_last, keep)
        channel = bus._transport.subscriber(topic, metadata_only=metadata_only)
        super().__init__(bus, topic, channel if kept is None else NewestChannel(channel, kept), decode)
        self._keep = profiling.received(self._keep)
