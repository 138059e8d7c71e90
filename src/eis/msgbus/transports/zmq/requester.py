"""Send a request and receive its reply. Does not know what either means.

ZeroMQ's REQ socket waits for ever for a lost reply. A request that is given up takes its socket with it: the next one
goes out on a new socket, so an old reply has no way to arrive as the answer to a new request, and the wire stays that
of the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import zmq

from eis.msgbus._wire import Frames
from eis.msgbus.exceptions import Disconnected, MessageBusError
from eis.msgbus.transports.zmq.calls import POLLIN
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.reading import read_reply
from eis.msgbus.transports.zmq.sending import SMALL, send_all
from eis.msgbus.transports.zmq.sizes import check_sizes
from eis.msgbus.transports.zmq.using import LinkChannel, alone

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.runtime import Runtime

__all__ = ["RequesterChannel"]


class RequesterChannel(LinkChannel):
    """Carry one request at a time; a new one replaces the one before."""

    def __init__(self, plan: Plan, runtime: Runtime) -> None:
        self._awaiting = False
        self._request: Frames = ()
        self._unsent = False  # the socket has no connection for the request, nor hopes for one
        self._losses = self._renewed = 0  # of the link, when it was given the request
        super().__init__(plan, runtime)

    @alone
    def send(self, frames: Frames) -> None:
        """Send a request; give up the one before if its reply has not come.

        Raises:
            InvalidMessage: a part is larger than a service takes.
        """
        largest = self.plan.largest
        if len(frames) != SMALL or len(frames[3]) > largest or len(frames[0]) > largest:
            check_sizes(frames, largest)
        if self._awaiting or self.link.fault is not None:  # refused before: who asks again, knocks again
            self._give_up()
        self._awaiting, self._request, self._unsent = True, frames, True
        self._sent += 1
        self._flush()

    def _give_up(self) -> None:
        self._awaiting, self._request, self._unsent = False, (), False
        if not self.closed:
            self._reopen()

    def _flush(self) -> None:
        """Give the request to the socket, if it has a connection or hopes for one."""
        self._losses, self._renewed = self.link.losses, self.link.renewed
        try:
            send_all(self._send, self._request)
        except zmq.Again:
            return  # refused, for now: the supervisor connects again, and wakes whoever waits
        except BaseException:  # a signal handler's: half a request may be out
            self._give_up()
            raise
        self._unsent = False

    @alone
    def receive(self) -> Sequence[Frames]:
        """Return the reply, if it has come.

        Raises:
            MessageBusError: no request waits for a reply.
        """
        if not self._awaiting:
            raise MessageBusError("no request was sent that waits for a reply")
        if self._wakeup.is_set:
            self._wakeup.clear()
        if self._unsent:
            self._flush()
        try:
            reply = read_reply(self._recv, self._more) if self._may_have_come() else []
        except zmq.Again:
            reply = []
        except BaseException:  # a signal handler's: half a reply may be read
            self._give_up()
            raise
        if not reply:
            self._look_what_happened()
            return ()
        self._awaiting, self._request = False, ()
        self._received += 1
        return [reply]

    def _may_have_come(self) -> bool:
        """Tell whether to read: after a wait something is there, most likely, and else it costs less to ask."""
        waited, self._waited = self._waited, False
        return not self._unsent and (waited or bool(self._events() & POLLIN))

    def _look_what_happened(self) -> None:
        """Raise why no reply will come, if that is known; the request is given up then."""
        link = self.link
        lost = link.losses != self._losses and not self._unsent
        if lost or link.fault is not None:
            self._give_up()
            link.raise_fault()
            raise Disconnected(f"the service at {self.plan.address} went away before it replied")
        if link.renewed != self._renewed and not self._unsent:  # never met a service, so the request never did
            self._reopen()
            self._unsent = True
            self._flush()
