"""Receive requests and answer them. Does not know what they mean.

The socket is a ROUTER: a request that cannot be answered is forgotten, where a REP would stay stuck in it. Clients with
a REQ socket notice no difference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq

from eis.msgbus._wire import Frames
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.link import LAST
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.reading import read_message
from eis.msgbus.transports.zmq.sending import send_all
from eis.msgbus.transports.zmq.sizes import check_sizes
from eis.msgbus.transports.zmq.using import LinkChannel, alone

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.transport import Services

__all__ = ["ServiceChannel"]


class ServiceChannel(LinkChannel):
    """Take one request at a time; what is sent next answers it."""

    def __init__(self, plan: Plan, services: Services) -> None:
        self._way_back: list[bytes] | None = None  # to the client whose request was received last
        super().__init__(plan, services)

    @alone
    def receive(self) -> Sequence[Frames]:
        """Return the next request, if there is one. The one before can no longer be answered."""
        self._wakeup.clear()
        self._way_back = None
        self.link.raise_fault()
        if not self._has_news():
            return ()
        try:
            frames = read_message(self._recv, self._more)
        except zmq.Again:
            return ()
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            self._skip_rest()
            raise
        self._received += 1
        self._way_back, request = _divide(frames)
        return [request]

    @alone
    def send(self, frames: Frames) -> None:
        """Answer the request that was received last.

        Raises:
            MessageBusError: there is none, or it was answered.
            InvalidMessage: a part is larger than a requester takes; the request can still be answered.
        """
        self.link.raise_fault()
        if self._way_back is None:
            raise MessageBusError("no request was received that waits for a response")
        check_sizes(frames, self.plan.largest)
        way_back, self._way_back = self._way_back, None
        try:
            send_all(self._send, [*way_back, *frames])
        except zmq.ZMQError:  # the client's queue is full, or the client is gone
            self._dropped += 1
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            with contextlib.suppress(zmq.ZMQError):
                self._send(b"", LAST)  # ends the response that was begun, or else the next one would go on with it
            raise
        else:
            self._sent += 1


def _divide(frames: list[Any]) -> tuple[list[bytes], list[Any]]:
    """Return the way back, up to the empty delimiter, and the request behind it: nothing if there is no delimiter."""
    for index, frame in enumerate(frames[1:], start=1):
        if not len(frame):
            header, parts = frames[index + 1 : index + 4], frames[index + 4 :]
            return [bytes(part) for part in frames[: index + 1]], [*(bytes(part) for part in header), *parts]
    return [bytes(frames[0])], []
