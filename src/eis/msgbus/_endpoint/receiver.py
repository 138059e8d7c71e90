"""What subscribers, services and requesters do, however their programs wait."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections import deque
from typing import Any, Generic, TypeVar

from eis.msgbus._channel import Channel, Counts, Deadline
from eis.msgbus._endpoint.bus import Bus, Endpoint, Stats
from eis.msgbus._endpoint.newest import NewestChannel, how_many
from eis.msgbus._wire import Decoder, encode_name
from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import InvalidMessage, MessageBusError, NoMessage, ReceiveTimeout

__all__ = ["ReceivingEndpoint", "RequesterEndpoint", "ServiceEndpoint", "SubscriberEndpoint"]

M = TypeVar("M")

_log = logging.getLogger("eis.msgbus")

_LOOKS = 16  # so many batches of refused messages in a row, before the time limit is looked at
_WARN_EVERY = 10.0  # seconds between two warnings of one endpoint about messages that it refuses


class ReceivingEndpoint(Endpoint, Generic[M]):
    """Take messages out of a channel, and refuse those that break the rules."""

    def __init__(self, bus: Bus, name: str, channel: Channel, decode: Decoder[M]) -> None:
        super().__init__(bus, name, channel)
        self._decode = decode
        self._ready: deque[MsgEnvelope[M]] = deque()
        self._malformed = self._unfit = self._unread = 0
        self._quiet = Deadline(0)

    def _take(self, mine: int = 0) -> MsgEnvelope[M] | None:
        """Return the next message, None if none has come; wake those who wait, other than `mine`, if there are more."""
        if not self._ready:
            self._refill()
            if len(self._waiters) > mine and self._ready:
                self._channel.wake()
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    def _moved_on(self) -> bool:
        """Tell whether another thread found something, or closed, before the caller was counted as one who waits."""
        return self._closed or bool(self._ready)

    def _take_waiting(self) -> MsgEnvelope[M] | None:
        return self._take(1)

    def _refill(self) -> None:
        """Take what has come, and look again while all of it is refused: the next may be behind it already."""
        self._check_open()
        for _ in range(_LOOKS):
            try:
                messages = self._channel.receive()
            except MessageBusError as error:
                raise self._named(error) from error
            for problem in self._decode.each(messages, self._ready.append):
                self._count(problem)
                self._refuse(problem)
            if self._ready:
                return
            if not messages:
                self._check_still_open()
                return
        self._channel.wake()  # a stranger who sends without pause does not keep the program from its time limit

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
        taken = counts.received - self._malformed - self._unfit - self._unread - len(self._ready)
        stats = super()._stats(counts)
        refused = counts.refused + self._unfit
        return dataclasses.replace(stats, received=taken, malformed=self._malformed, refused=refused)

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


def _decoder(type: Any = None, *, metadata_only: bool = False) -> Decoder[Any]:
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
        decode = _decoder(type, metadata_only=metadata_only)
        kept = how_many(keep_last, keep)
        channel = bus._transport.subscriber(topic, metadata_only=metadata_only)
        super().__init__(bus, topic, channel if kept is None else NewestChannel(channel, kept), decode)


class ServiceEndpoint(ReceivingEndpoint[Any]):
    """Receive requests and answer each of them."""

    kind = "service"

    def __init__(self, bus: Bus, name: str) -> None:
        self._frame = encode_name(name)
        self._serving = threading.RLock()  # the error reply goes to whose request was refused, not to another's
        super().__init__(bus, name, bus._transport.service(name), _decoder())

    def _be_inherited(self) -> None:
        super()._be_inherited()
        self._serving = threading.RLock()

    def _refill(self) -> None:
        with self._serving:
            super()._refill()

    def response(self, message: Any) -> None:
        """Answer the request that was received last; never waits. `message` is as for `publish`.

        Raises:
            MessageBusError: there is no request, or it was answered.
            InvalidMessage: the message has no form on the wire; the request can still be answered.
        """
        self._send(self._frame, message)

    def _refuse(self, error: InvalidMessage) -> None:
        """Tell the client what is wrong with its request, and go on."""
        super()._refuse(error)
        with contextlib.suppress(MessageBusError):  # closed meanwhile
            self._send(self._frame, {"error": f"{self._title} refuses the request: {error}"})


class RequesterEndpoint(ReceivingEndpoint[Any]):
    """Send requests and receive their replies."""

    kind = "requester"

    def __init__(self, bus: Bus, name: str) -> None:
        self._frame = encode_name(name)
        super().__init__(bus, name, bus._transport.requester(name), _decoder())

    def _request(self, message: Any) -> None:
        """Send a request; give up the one before if its reply has not come."""
        self._forget()
        self._send(self._frame, message)

    def _refuse(self, error: InvalidMessage) -> None:
        """Tell the program that its request has no readable reply."""
        raise InvalidMessage(f"{self._title} got a reply that it cannot read: {error.problem}", error.where) from error
