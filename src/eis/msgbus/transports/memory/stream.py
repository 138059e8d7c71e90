"""Publishers and subscribers of one process. Does not know what a message means."""

from __future__ import annotations

from collections.abc import Sequence

from eis.msgbus._wire import Frames
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.memory.channel import Hub, ReceivingChannel

__all__ = ["PublisherChannel", "SubscriberChannel"]


class PublisherChannel(ReceivingChannel):
    """Send to every subscriber of a topic."""

    def __init__(self, hub: Hub, name: str) -> None:
        super().__init__(hub, name)
        hub.publishers = (*hub.publishers, self)

    def send(self, frames: Frames) -> None:
        """Queue a message for every subscriber that has room."""
        message = [bytes(frame) for frame in frames]  # the sender may change its buffers
        with self._hub.lock:
            self._check_open()
            self._sent += 1
            full = [not subscriber.put(message) for subscriber in self._matching()]
            self._dropped += any(full)

    def subscribers(self) -> int:
        """Return how many subscribers the topic has."""
        with self._hub.lock:
            self._check_open()
            self._wakeup.clear()
            return len(self._matching())

    def lend(self, nbytes: int) -> None:
        """Lend nothing: there is no memory that a message is not copied from."""

    def _matching(self) -> Sequence[SubscriberChannel]:
        return [subscriber for subscriber in self._hub.subscribers if self.name.startswith(subscriber.name)]

    def _leave(self) -> None:
        self._hub.publishers = tuple(each for each in self._hub.publishers if each is not self)


class SubscriberChannel(ReceivingChannel):
    """Receive from every publisher whose topic begins with a prefix."""

    _state = "connected"

    def __init__(self, hub: Hub, name: str) -> None:
        super().__init__(hub, name)
        hub.subscribers = (*hub.subscribers, self)
        self._tell()

    def send(self, frames: Frames) -> None:  # noqa: ARG002  # the contract's argument
        """Refuse: a subscriber only receives."""
        raise MessageBusError("a subscriber cannot send")

    def _leave(self) -> None:
        self._hub.subscribers = tuple(each for each in self._hub.subscribers if each is not self)
        self._tell()

    def _tell(self) -> None:
        for publisher in self._hub.publishers:
            publisher.wake()
