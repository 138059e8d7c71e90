"""The asyncio API: seconds, and `await` where a call may wait. Does not know sockets, nor bytes.

The names are those of the blocking API; what cannot wait is a plain method.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from eis.msgbus._channel import Closed
from eis.msgbus._endpoint import (
    Bus,
    DecodingEndpoint,
    Endpoint,
    PublisherEndpoint,
    ReceivingEndpoint,
    RequesterEndpoint,
    ServiceEndpoint,
    SubscriberEndpoint,
    WayBack,
)
from eis.msgbus._milliseconds import checked
from eis.msgbus._status import Status
from eis.msgbus._waiting.loops import Watch, give_way
from eis.msgbus.envelope import M, MsgEnvelope

__all__ = ["MsgbusContext", "Publisher", "Requester", "Service", "Subscriber"]

T = TypeVar("T")

_CHANGES = 100
_BATCH = 64  # so many messages in a row may be there already before the other tasks of the loop get a turn


def _limit(timeout: float | None) -> asyncio.Timeout:
    return asyncio.timeout(checked(timeout, "seconds"))


class _Closing:
    """Close at the end of an `async with` block."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    close: Callable[[], None]


class MsgbusContext(Bus, _Closing):
    """Open publishers, subscribers, services and requesters by configuration; as the blocking one.

    `async with` delivers what was published before it ends, in a thread, within 2 seconds; `close` does so at once.
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._close_endpoints()
        await asyncio.to_thread(self.close)

    def new_publisher(self, topic: str) -> Publisher:
        """Open a publisher of `topic`."""
        return Publisher(self, topic)

    @overload
    def new_subscriber(
        self,
        topic: str,
        *,
        keep_last: int | None = None,
        keep: Literal["latest"] | None = None,
        metadata_only: bool = False,
    ) -> Subscriber[Any]: ...

    @overload
    def new_subscriber(
        self,
        topic: str,
        type: type[M],
        *,
        keep_last: int | None = None,
        keep: Literal["latest"] | None = None,
        metadata_only: bool = False,
    ) -> Subscriber[M]: ...

    def new_subscriber(
        self,
        topic: str,
        type: type[M] | None = None,
        *,
        keep_last: int | None = None,
        keep: Literal["latest"] | None = None,
        metadata_only: bool = False,
    ) -> Subscriber[Any]:
        """Open a subscriber of every topic that begins with `topic`; the rest is as in the blocking API."""
        return Subscriber(self, topic, type, keep_last, keep, metadata_only=metadata_only)

    def new_service(self, name: str) -> Service:
        """Open the service `name`."""
        return Service(self, name)

    def get_service(self, name: str) -> Requester:
        """Open a requester of the service `name`."""
        return Requester(self, name)


class _Async(Endpoint, _Closing):
    """Await the channel of an endpoint."""

    async def events(self) -> AsyncIterator[Status]:
        """Yield the `status` as it is, then each change of it, until the endpoint is closed.

        Of a reader that is behind by more than 100 changes the oldest are dropped.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        changes: deque[Status] = deque(maxlen=_CHANGES)

        def take(status: Status) -> None:
            changes.append(status)
            news.set()

        stop = self.on_event(lambda status: loop.call_soon_threadsafe(take, status))
        try:
            yield (last := self.status)
            while last.state != "closed":
                await news.wait()
                news.clear()
                while changes:
                    if (status := changes.popleft()) != last:  # it may have come while the first was looked at
                        yield (last := status)
        finally:
            stop()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watch = Watch()

    async def _wait(self, attempt: Callable[[], T | None]) -> T:
        waiter = object()
        try:
            self._arrive(waiter)
            return await self._watch.wait_async(self._channel, attempt)
        finally:
            self._depart(waiter)


class Publisher(PublisherEndpoint, _Async):
    """Send messages to every subscriber of a topic."""

    async def wait_for_subscribers(self, count: int = 1, timeout: float | None = None) -> None:
        """Wait until the topic has `count` subscribers; `timeout` is in seconds, None for no limit.

        Subscriptions are counted as the peers tell them: good for waiting, and no proof of who listens.

        Raises:
            ReceiveTimeout: too few came in time.
        """
        try:
            async with _limit(timeout):
                await self._wait(lambda: self._enough(count))
        except TimeoutError:
            raise self._too_few(count, f"{timeout:g} s") from None


class _Receiving(DecodingEndpoint[M], _Async):
    """Receive message after message."""

    _left = _BATCH
    recv: Callable[[], Coroutine[Any, Any, MsgEnvelope[M]]]

    async def _wait_for_message(
        self, attempt: Callable[[], MsgEnvelope[M] | None], seconds: float | None
    ) -> MsgEnvelope[M]:
        if (limit := checked(seconds, "seconds")) == 0:
            raise self._nothing(None)
        try:
            async with asyncio.timeout(limit):
                return await self._wait(attempt)
        except TimeoutError:
            raise self._nothing(f"{seconds:g} s") from None

    async def _give_way(self) -> None:
        """Let the other tasks run: so many messages in a row were there already."""
        self._left = _BATCH
        await give_way()

    async def __aiter__(self) -> AsyncIterator[MsgEnvelope[M]]:
        """Yield message after message, until the endpoint is closed."""
        while True:
            try:
                envelope = await self.recv()
            except Closed:
                return
            yield envelope


class _Messages(ReceivingEndpoint[M], _Receiving[M]):
    """Receive messages."""

    async def recv(self, timeout: float | None = None) -> MsgEnvelope[M]:
        """Return the next message; `timeout` is in seconds, None for no limit. Cancelling it loses no message.

        Raises:
            ReceiveTimeout: nothing came in time. NoMessage, if `timeout` is 0.
            MessageBusError: the endpoint is closed, or was closed meanwhile.
            MessageBusAuthenticationFailed: the peer refuses this client; the endpoint keeps trying.
        """
        self._left -= 1
        if not self._left:
            await self._give_way()
        envelope = self._take()
        return envelope if envelope is not None else await self._wait_for_message(self._take_waiting, timeout)


class Subscriber(SubscriberEndpoint[M], _Messages[M]):
    """Receive every message whose topic begins with a prefix."""


class Service(ServiceEndpoint, _Receiving[Any]):
    """Receive requests and answer each of them; several tasks may do so at once."""

    def recv(self, timeout: float | None = None) -> Coroutine[Any, Any, MsgEnvelope[Any]]:
        """Return the next request. It is whose call this is that answers it, not the task that awaits it for him.

        `timeout`, and what is raised, are as for a subscriber.
        """
        return self._recv(self._expect(), timeout)

    async def _recv(self, way: WayBack, timeout: float | None) -> MsgEnvelope[Any]:
        self._left -= 1
        if not self._left:
            await self._give_way()
        if (envelope := self._take_request(way, mine=0)) is not None:
            return envelope
        return await self._wait_for_message(functools.partial(self._take_request, way), timeout)


class Requester(RequesterEndpoint, _Messages[Any]):
    """Send requests and receive their replies."""

    def __init__(self, bus: Bus, name: str) -> None:
        super().__init__(bus, name)
        self._requests = asyncio.Lock()

    async def request(self, message: Any, timeout: float | None = None) -> MsgEnvelope[Any]:
        """Send a request and return its reply; `timeout` is in seconds, None for no limit.

        Tasks that share a requester take turns. A request that is cancelled or whose time is over is given up: its
        reply never arrives as the answer to a later one.

        Raises:
            As the blocking `request`.
        """
        try:
            async with _limit(timeout), self._requests:
                self._request(message)
                return await self._wait(self._take_waiting)
        except TimeoutError:
            raise self._nothing(f"{timeout:g} s") from None
