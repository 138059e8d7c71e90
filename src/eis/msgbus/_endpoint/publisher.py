"""What a publisher does, however its program waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

from eis.msgbus._channel import Closed, Publishing
from eis.msgbus._endpoint import profiling
from eis.msgbus._endpoint.bus import Bus, Endpoint
from eis.msgbus._wire import encode, encode_name
from eis.msgbus.exceptions import MessageBusError, ReceiveTimeout
from eis.msgbus.loan import Loan, OwnMemory, measured

__all__ = ["PublisherEndpoint"]


class PublisherEndpoint(Endpoint):
    """Send messages to every subscriber of a topic."""

    kind = "publisher"
    _channel: Publishing

    def __init__(self, bus: Bus, topic: str) -> None:
        self._frame = encode_name(topic)
        channel = bus._transport.publisher(topic)
        super().__init__(bus, topic, channel)
        self._send_frames = profiling.sent(channel.send)
        self._found = 0  # subscribers, at the last look

    def publish(self, message: Any) -> None:
        """Send a message to every subscriber; never waits.

        `message` is a dict, bytes or another buffer, a tuple or list of dicts and buffers, a `MsgEnvelope`, a msgspec
        Struct or a dataclass. A buffer of 128 KiB or more is not copied: it must not be changed afterwards (a new
        array for every frame, or `bytes(array)`).

        Raises:
            InvalidMessage: the message has no form on the wire; nothing was sent.
            MessageBusError: the publisher is closed.
            MessageBusAuthenticationFailed: the broker refuses this publisher.
        """
        if self._closed:
            self._check_open()
        try:
            self._send_frames(encode(self._frame, message))
        except Closed as error:
            raise self._named(error) from error

    def loan(self, size: int | Sequence[int], dtype: Any = "uint8") -> Loan:
        """Lend memory to make a frame in: `size` is a number of bytes, or the shape of an array of `dtype`.

        Fill `loan.view` (flat bytes) or `loan.array` (a NumPy array), and publish the loan as a blob. On `zmq_ipc` it
        lies in the memory that new subscribers share, and is not copied. Where nobody shares memory, or none is free,
        it is ordinary memory: everything works, at the price of a copy.

        Raises:
            MessageBusError: `size` or `dtype` is wrong, or the publisher is closed.
        """
        shape, nbytes = measured(size, dtype)
        self._check_open()
        return Loan(self._channel.lend(nbytes) or OwnMemory(nbytes), shape, dtype)

    def _enough(self, count: int) -> bool | None:
        """Return True if the topic has so many subscribers, None if not yet."""
        self._check_open()
        if not isinstance(count, SupportsIndex):
            raise MessageBusError(f"count: expected a number of subscribers, got {count!r}")
        try:
            found = self._channel.subscribers()
        except MessageBusError as error:
            raise self._named(error) from error
        self._check_still_open()
        if found != self._found and len(self._waiters) > 1:
            self._channel.wake()  # the others: the look took their news away
        self._found = found
        return found >= count or None

    def _too_few(self, count: int, limit: str) -> ReceiveTimeout:
        what = "1 subscriber" if count == 1 else f"{count} subscribers"
        return ReceiveTimeout(f"{self._title}: expected {what} within {limit}")
