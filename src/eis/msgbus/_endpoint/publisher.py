"""What a publisher does, however its program waits."""

from __future__ import annotations

from typing import Any

from eis.msgbus._channel import Closed, Publishing
from eis.msgbus._endpoint.bus import Bus, Endpoint
from eis.msgbus._wire import encode, encode_name
from eis.msgbus.exceptions import MessageBusError, ReceiveTimeout

__all__ = ["PublisherEndpoint"]


class PublisherEndpoint(Endpoint):
    """Send messages to every subscriber of a topic."""

    kind = "publisher"
    _channel: Publishing

    def __init__(self, bus: Bus, topic: str) -> None:
        self._frame = encode_name(topic)
        channel = bus._transport.publisher(topic)
        super().__init__(bus, topic, channel)
        self._send_frames = channel.send

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
        if self._waiters:
            self._channel.wake()  # sending takes the socket's news away from those who wait for them

    def _enough(self, count: int) -> bool | None:
        """Return True if the topic has so many subscribers, None if not yet."""
        self._check_open()
        try:
            enough = self._channel.subscribers() >= count
        except MessageBusError as error:
            raise self._named(error) from error
        self._check_still_open()
        return enough or None

    def _too_few(self, count: int, limit: str) -> ReceiveTimeout:
        return ReceiveTimeout(f"{self._title}: expected {count} subscribers within {limit}")
