"""What services and requesters do, however their programs wait."""

from __future__ import annotations

import contextlib
import types
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from eis.msgbus._channel import Serving
from eis.msgbus._endpoint.bus import Bus
from eis.msgbus._endpoint.receiver import LOOKS, DecodingEndpoint, ReceivingEndpoint, decoder
from eis.msgbus._wire import encode, encode_name
from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import InvalidMessage, MessageBusError

__all__ = ["RequesterEndpoint", "ServiceEndpoint", "WayBack"]

WayBack = list[Any]
"""Where the response to a request goes; empty before the request has come, and after it was answered."""

_asked: ContextVar[Mapping[weakref.ref[ServiceEndpoint], WayBack]] = ContextVar(
    "asked", default=types.MappingProxyType({})
)
"""The request that the running thread or task received last, of each service. A task begins with that of its maker."""


class ServiceEndpoint(DecodingEndpoint[Any]):
    """Receive requests and answer each of them."""

    kind = "service"
    _channel: Serving

    def __init__(self, bus: Bus, name: str) -> None:
        self._frame = encode_name(name)
        self._me = weakref.ref(self)
        super().__init__(bus, name, bus._transport.service(name), decoder())

    def _expect(self) -> WayBack:
        """Return where the way back of the caller's next request goes; the one before is given up."""
        way: WayBack = []
        others = _asked.get()
        if len(others) > 1 or self._me not in others:
            others = {service: theirs for service, theirs in others.items() if service() is not None}
            _asked.set({**others, self._me: way})
        else:
            _asked.set({self._me: way})
        return way

    def _take_request(self, way: WayBack, mine: int = 1) -> MsgEnvelope[Any] | None:
        """Return the next request, None if none has come; wake those who wait, other than `mine`: there may be more."""
        for _ in range(LOOKS):
            if self._closed:
                self._check_open()
            try:
                request = self._channel.receive()
            except MessageBusError as error:
                raise self._named(error) from error
            if request is None:
                self._check_still_open()
                return None
            if len(self._waiters) > mine:
                self._channel.wake()
            frames, way_back = request
            try:
                envelope = self._decode.one(frames)
            except InvalidMessage as problem:
                self._refuse_request(problem, way_back)
            else:
                way.append(way_back)
                return envelope
        self._channel.wake()  # a stranger who sends without pause does not keep the program from its time limit
        return None

    def _refuse_request(self, problem: InvalidMessage, way_back: Any) -> None:
        """Tell the client of a request that breaks the rules what is wrong."""
        self._count(problem)
        self._refuse(problem)
        answer = encode(self._frame, {"error": f"{self._title} refuses the request: {problem}"})
        with contextlib.suppress(MessageBusError):  # closed meanwhile
            self._channel.send(answer, way_back)

    def response(self, message: Any) -> None:
        """Answer the request that this thread or task received last; never waits. `message` is as for `publish`.

        A task that was made after a request came answers that one, whatever its maker receives meanwhile.

        Raises:
            MessageBusError: there is no request, or it was answered.
            InvalidMessage: the message has no form on the wire; the request can still be answered.
        """
        if self._closed:
            self._check_open()
        frames = encode(self._frame, message)
        try:
            way = _asked.get()[self._me]
            way_back = way.pop()  # in one step: nobody else answers it too
        except LookupError:
            problem = "no request was received that waits for a response of this thread or task"
            raise MessageBusError(f"{self._title}: {problem}") from None
        try:
            self._channel.send(frames, way_back)
        except MessageBusError as error:
            way.append(way_back)  # nothing was sent
            raise self._named(error) from error


class RequesterEndpoint(ReceivingEndpoint[Any]):
    """Send requests and receive their replies."""

    kind = "requester"

    def __init__(self, bus: Bus, name: str) -> None:
        self._frame = encode_name(name)
        super().__init__(bus, name, bus._transport.requester(name), decoder())

    def _request(self, message: Any) -> None:
        """Send a request; give up the one before if its reply has not come."""
        if self._closed:
            self._check_open()
        frames = encode(self._frame, message)
        try:
            self._channel.send(frames)
        except MessageBusError as error:
            raise self._named(error) from error

    def _take(self, mine: int = 0) -> MsgEnvelope[Any] | None:  # noqa: ARG002  # who waits gets no other reply
        """Return the reply, None if it has not come."""
        if self._closed:
            self._check_open()
        try:
            for reply in self._channel.receive():
                return self._decode.one(reply)
        except InvalidMessage as problem:
            self._count(problem)
            text = f"{self._title} got a reply that it cannot read: {problem.problem}"
            raise InvalidMessage(text, problem.where) from problem
        except MessageBusError as error:
            raise self._named(error) from error
        self._check_still_open()
        return None
