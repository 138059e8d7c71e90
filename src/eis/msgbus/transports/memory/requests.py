"""Services and requesters of one process. Does not know what a request means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eis.msgbus._channel import Request
from eis.msgbus._wire import Frames
from eis.msgbus.exceptions import AddressInUse, Disconnected, MessageBusError
from eis.msgbus.transports.memory.channel import Hub, HubChannel, ReceivingChannel

__all__ = ["RequesterChannel", "ServiceChannel"]


class ServiceChannel(HubChannel):
    """Receive requests, and answer each; the way back is who asked, and the number of the request there."""

    def __init__(self, hub: Hub, name: str) -> None:
        if name in hub.services:
            raise AddressInUse(f"another service {name} is open in this hub")
        super().__init__(hub, name)
        hub.services[name] = self
        for requester in hub.requesters:
            requester.service_opened(self)

    def receive(self) -> Request | None:
        """Return the next request."""
        with self._hub.lock:
            self._check_open()
            if not self._queue:
                self._wakeup.clear()
                return None
            requester, number, frames = self._queue.popleft()
            self._received += 1
            return frames, (requester, number)

    def send(self, frames: Frames, way_back: Any) -> None:
        """Answer the request that came with `way_back`."""
        requester, number = way_back
        with self._hub.lock:
            self._check_open()
            answered = requester.answer(number, [bytes(frame) for frame in frames])
            self._sent += answered
            self._dropped += not answered

    def _leave(self) -> None:
        del self._hub.services[self.name]
        for requester in self._hub.requesters:
            requester.service_closed(self)


class RequesterChannel(ReceivingChannel):
    """Send a request and receive its reply; a new request replaces the one before."""

    _state = "connected"

    def __init__(self, hub: Hub, name: str) -> None:
        super().__init__(hub, name)
        self._number = 0  # of the request that waits for its reply
        self._awaiting = False
        self._unsent: Frames | None = None  # a request that waits for its service to open
        self._asked: ServiceChannel | None = None
        hub.requesters = (*hub.requesters, self)

    def send(self, frames: Frames) -> None:
        """Send a request; give up the one before."""
        with self._hub.lock:
            self._check_open()
            self._queue.clear()
            self._number += 1
            self._sent += 1
            self._awaiting, self._asked = True, None
            self._unsent = [bytes(frame) for frame in frames]
            if (service := self._hub.services.get(self.name)) is not None:
                self.service_opened(service)

    def receive(self) -> Sequence[Frames]:
        """Return the reply, if it has come.

        Raises:
            Disconnected: the service was closed before it replied.
        """
        with self._hub.lock:
            self._check_open()
            if not self._awaiting:
                raise MessageBusError("no request was sent that waits for a reply")
            replies = super().receive()
            self._awaiting = not replies
            if self._awaiting and self._asked is not None and self._asked.closed:
                self._awaiting = False
                raise Disconnected(f"service {self.name} went away before it replied")
            return replies

    def answer(self, number: int, frames: Frames) -> bool:
        """Take the reply to request `number`; tell whether it is still awaited."""
        awaited = not self.closed and number == self._number and self._awaiting
        return awaited and self.put(frames)

    def service_opened(self, service: ServiceChannel) -> None:
        """Hand over the request that waits for this service."""
        if service.name != self.name or self._unsent is None:
            return
        request, self._unsent = (self, self._number, self._unsent), None
        if service.put(request):
            self._asked = service
        else:
            self._dropped += 1

    def service_closed(self, service: ServiceChannel) -> None:
        """Wake whoever waits for its reply."""
        if service is self._asked:
            self.wake()

    def _leave(self) -> None:
        self._hub.requesters = tuple(each for each in self._hub.requesters if each is not self)
