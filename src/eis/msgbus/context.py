"""The blocking API, exactly the tutorial's: milliseconds, and calls that wait. Does not know sockets, nor bytes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

from eis.msgbus._channel import Closed
from eis.msgbus._endpoint import (
    Bus,
    Endpoint,
    PublisherEndpoint,
    ReceivingEndpoint,
    RequesterEndpoint,
    ServiceEndpoint,
    SubscriberEndpoint,
)
from eis.msgbus._milliseconds import milliseconds_to_wait, seconds_of
from eis.msgbus._waiting import Deadline, Spinning, wait
from eis.msgbus.envelope import M, MsgEnvelope

__all__ = ["MsgbusContext", "Publisher", "Requester", "Service", "Subscriber"]

T = TypeVar("T")


class _Closing:
    """Close at the end of a `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    close: Callable[[], None]


class MsgbusContext(Bus, _Closing):
    """Open publishers, subscribers, services and requesters by configuration.

    `config` is a dict, or the path of a JSON or TOML file; its keys are in docs/reference/configuration.md.

    Raises:
        InvalidConfig: here or in `new_*`, before any socket exists.
    """

    def new_publisher(self, topic: str) -> Publisher:
        """Open a publisher of `topic`. Those of one address share a socket, from any thread."""
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
        """Open a subscriber of every topic that begins with `topic`.

        With a `type`, a msgspec Struct or dataclass, the metadata of each message is an instance of it; messages that
        do not fit are refused: counted, and logged with the place. With `keep_last`, the newest so many messages wait
        for the program, and older ones are skipped, and counted; `keep="latest"` is `keep_last=1`. With `metadata_only`
        the messages have no blobs; a publisher of this library does not even send them.

        Raises:
            MessageBusError: `type`, `keep_last` or `keep` is wrong.
        """
        return Subscriber(self, topic, type, keep_last, keep, metadata_only=metadata_only)

    def new_service(self, name: str) -> Service:
        """Open the service `name`."""
        return Service(self, name)

    def get_service(self, name: str) -> Requester:
        """Open a requester of the service `name`."""
        return Requester(self, name)


class _Blocking(Endpoint, _Closing):
    """Wait for the channel of an endpoint."""

    _sleep: Spinning | None = None

    def _wait(
        self, attempt: Callable[[], T | None], seconds: float | None, moved_on: Callable[[], bool] | None = None
    ) -> T | None:
        """Wait as `wait` does; `moved_on` says that an attempt has just failed, and tells whether that still holds."""
        waiter = object()
        try:
            self._arrive(waiter)
            return wait(
                self._channel, attempt, seconds, tried=moved_on is not None and not moved_on(), sleep=self._sleep
            )
        finally:
            self._depart(waiter)


class Publisher(PublisherEndpoint, _Blocking):
    """Send messages to every subscriber of a topic."""

    def wait_for_subscribers(self, count: int = 1, timeout: float | None = -1) -> None:
        """Wait until the topic has `count` subscribers; `timeout` is in milliseconds, below 0 for no limit.

        Subscriptions are counted as the peers tell them: good for waiting, and no proof of who listens.

        Raises:
            ReceiveTimeout: too few came in time.
        """
        if self._wait(lambda: self._enough(count), seconds_of(timeout)) is None:
            raise self._too_few(count, f"{timeout:g} ms")


class _Iterated(Generic[M]):
    """Receive message after message."""

    recv: Callable[[], MsgEnvelope[M]]

    def __iter__(self) -> Iterator[MsgEnvelope[M]]:
        """Yield message after message, until the endpoint is closed."""
        while True:
            try:
                envelope = self.recv()
            except Closed:
                return
            yield envelope


class _Receiving(ReceivingEndpoint[M], _Iterated[M], _Blocking):
    """Receive messages."""

    def recv(
        self,
        limit: float | bool | None = -1,
        second: float | bool | None = None,
        /,
        *,
        timeout: float | None = -1,
        blocking: bool = True,
    ) -> MsgEnvelope[M]:
        """Return the next message.

        `recv()` waits for ever, `recv(500)` and `recv(timeout=500)` wait 500 milliseconds, `recv(0)`, `recv(False)`
        and `recv(blocking=False)` do not wait. A bool in first place is `blocking`, as in the original library, and
        then a number in second place is `timeout`, which wins over `blocking` unless it is negative.

        Raises:
            ReceiveTimeout: nothing came in time. NoMessage, if the call was not to wait.
            MessageBusError: the endpoint is closed, or was closed meanwhile.
            MessageBusAuthenticationFailed: the peer refuses this client; the endpoint keeps trying.
        """
        try:
            return self._ready.popleft()
        except IndexError:
            pass
        found = self._found
        if (envelope := self._take()) is not None:
            return envelope
        milliseconds = milliseconds_to_wait(limit, second, timeout, blocking)
        if milliseconds == 0:
            raise self._nothing(None)
        return self._wait_for_message(seconds_of(milliseconds), milliseconds, found)

    def _wait_for_message(self, seconds: float | None, said: float | None, found: object) -> MsgEnvelope[M]:
        """Wait for a message; `said` is the limit in the caller's words, `found` what a look before had found."""
        envelope = self._wait(self._take_waiting, seconds, functools.partial(self._moved_on, found))
        if envelope is None:
            raise self._nothing(f"{said:g} ms")
        return envelope


class Subscriber(SubscriberEndpoint[M], _Receiving[M]):
    """Receive every message whose topic begins with a prefix."""


class Service(ServiceEndpoint, _Iterated[Any], _Blocking):
    """Receive requests and answer each of them; several threads may do so at once."""

    def __init__(self, bus: Bus, name: str) -> None:
        super().__init__(bus, name)
        self._sleep = Spinning()

    def recv(
        self,
        limit: float | bool | None = -1,
        second: float | bool | None = None,
        /,
        *,
        timeout: float | None = -1,
        blocking: bool = True,
    ) -> MsgEnvelope[Any]:
        """Return the next request, which is this thread's to answer; the one before can no longer be answered.

        How long it waits, and what it raises, is as for a subscriber.
        """
        milliseconds = milliseconds_to_wait(limit, second, timeout, blocking)
        way = self._expect()
        envelope = self._wait(functools.partial(self._take_request, way), seconds_of(milliseconds))
        if envelope is None:
            raise self._nothing(f"{milliseconds:g} ms" if milliseconds else None)
        return envelope


class Requester(RequesterEndpoint, _Receiving[Any]):
    """Send requests and receive their replies."""

    def __init__(self, bus: Bus, name: str) -> None:
        super().__init__(bus, name)
        self._turn = threading.Lock()
        self._sleep = Spinning()

    def _be_inherited(self) -> None:
        super()._be_inherited()
        self._turn = threading.Lock()

    @overload
    def request(self, message: Any) -> None: ...

    @overload
    def request(self, message: Any, timeout: float) -> MsgEnvelope[Any]: ...

    def request(self, message: Any, timeout: float | None = None) -> MsgEnvelope[Any] | None:
        """Send a request; `message` is as for `publish`.

        Without a `timeout` this returns at once, and `recv` gets the reply. With one, in milliseconds (below 0 for no
        limit), it waits for the reply and returns it; calls from several threads take turns. A request whose reply
        has not come is given up: its reply never arrives as the answer to a later one.

        Raises:
            InvalidMessage: the message has no form on the wire, or the reply breaks its rules.
            ReceiveTimeout: no reply came in time; the next request works.
            Disconnected: the service went away before it replied; the next request works.
            MessageBusAuthenticationFailed: the service refuses this client.
        """
        if timeout is None:
            self._request(message)
            return None
        seconds = seconds_of(timeout)
        if not self._turn.acquire(False):
            seconds = self._await_turn(seconds, timeout)
        try:
            self._request(message)
            reply = self._wait(self._take, seconds, self._moved_on)
        finally:
            self._turn.release()
        if reply is None:
            raise self._nothing(f"{timeout:g} ms")
        return reply

    def _await_turn(self, seconds: float | None, said: float) -> float | None:
        """Wait until the other threads have had their replies; return the seconds that are left."""
        deadline = Deadline(seconds)
        if not self._turn.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX)):
            raise self._nothing(f"{said:g} ms")
        return deadline.left()
