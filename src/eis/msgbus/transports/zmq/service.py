"""Receive requests and answer them. Does not know what they mean.

The socket is a ROUTER: a request that cannot be answered is forgotten, where a REP would stay stuck in it. Clients with
a REQ socket notice no difference.
"""

from __future__ import annotations

import contextlib
from typing import Any

import zmq

from eis.msgbus._channel import Request
from eis.msgbus._wire import Frames
from eis.msgbus.transports.zmq.calls import LAST, MORE, POLLIN
from eis.msgbus.transports.zmq.reading import read_request
from eis.msgbus.transports.zmq.sending import SMALL, send_all
from eis.msgbus.transports.zmq.sizes import check_sizes
from eis.msgbus.transports.zmq.using import LinkChannel, alone

__all__ = ["ServiceChannel"]


class ServiceChannel(LinkChannel):
    """Take request after request; each has its way back, the frames up to the empty one."""

    _awaited = False  # somebody waits for a request, or is about to; who else does is woken when it has come

    @alone
    def receive(self) -> Request | None:
        """Return the next request, if there is one, and the way back to its client."""
        if self._wakeup.is_set:
            self._wakeup.clear()
        self._awaited = True  # unless there is one
        link = self.link
        if link.stopped or link.fault is not None:
            link.raise_fault()
        if not self._waited and not self._events() & POLLIN:
            return None
        self._waited = False
        try:
            request = read_request(self._recv, self._more)
        except zmq.Again:
            return None
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            self._skip_rest()
            raise
        self._awaited = False
        self._received += 1
        return request

    @alone
    def send(self, frames: Frames, way_back: Any) -> bool:
        """Answer the request that came with `way_back`; tell whether the answer is on its way, or dropped."""
        link = self.link
        if link.stopped or link.fault is not None:
            link.raise_fault()
        largest = self.plan.largest
        if len(frames) != SMALL or len(frames[3]) > largest or len(frames[0]) > largest:
            check_sizes(frames, largest)
        send = self._send
        try:
            for frame in way_back:
                send(frame, MORE)
            send_all(send, frames)
        except zmq.ZMQError:  # the client's queue is full, or the client is gone
            self._dropped += 1
            self._look_again()
            return False
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            with contextlib.suppress(zmq.ZMQError):
                send(b"", LAST)  # ends the response that was begun, or else the next one would go on with it
            raise
        self._sent += 1
        self._look_again()
        return True

    def _look_again(self) -> None:
        """Wake who waits if a request has come: sending takes the news of it away from the descriptor."""
        if self._awaited and self._events() & POLLIN:
            self._wakeup.set()
