"""What the channels with a link of their own have in common: who uses the socket, and how it ends."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import zmq

from eis.msgbus._channel import Closed, Counts, Wakeup, at_the_end
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.calls import POLLIN, backend_calls, int_option
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.owner import LinkOwner
from eis.msgbus.transports.zmq.plan import Plan

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.runtime import Runtime

__all__ = ["LinkChannel", "alone"]

C = TypeVar("C", bound="LinkChannel")
Ts = TypeVarTuple("Ts")
R = TypeVar("R")


def alone(method: Callable[[C, *Ts], R]) -> Callable[[C, *Ts], R]:
    """Give a method the right to touch the channel's socket: one thread at a time, nothing half-way.

    A signal handler runs in the middle of whatever its thread does. If it closes the channel, the call that it
    interrupted closes the link when it has finished; if it uses the channel, it is refused. And if it raises, as that
    of Ctrl-C does, neither lock nor mark stay behind: Python looks for signals after calls, and between the lock, the
    mark and the `try` there is none.
    """

    @functools.wraps(method)
    def call(self: C, /, *args: *Ts) -> R:
        with self.lock:
            if self.closed:
                raise Closed("closed")
            if self.busy:
                raise MessageBusError("in use: a signal handler cannot use what the signal interrupted")
            self.busy = True
            try:
                return method(self, *args)
            finally:
                self.busy = False
                if self.closed:
                    self.close()

    return call


class LinkChannel(LinkOwner):
    """Own a link; whoever touches its socket is `alone`."""

    def __init__(self, plan: Plan, runtime: Runtime) -> None:
        self.closed = False
        self.plan = plan
        self.busy = False
        self._waited = False  # since the last look; then something has come, most likely
        self.lock = threading.RLock()
        self._runtime = runtime
        self._wakeup = Wakeup()
        at_the_end(self, self._wakeup.close)  # not in `close`: whoever waits has to see that it is set
        self._sent = self._received = self._dropped = 0
        with self.lock:  # the supervisor may look for `link` before it is there
            self._open(None)
        self.status = self.link.status

    def _open(self, after: Link | None) -> None:
        self.link = Link(self.plan, self._runtime, self, after)
        self._send, self._recv = backend_calls(self.link.socket)
        self._filenos: tuple[int, ...] = (self.link.fd, self._wakeup.fileno())
        self._more = int_option(self.link.socket, zmq.RCVMORE)
        self._events = int_option(self.link.socket, zmq.EVENTS)

    def _reopen(self) -> None:
        """Go on with a new link; what was counted stays."""
        given_up = self.link
        self._open(given_up)
        given_up.close()
        self._wakeup.set()  # whoever waits has to wait for another descriptor

    def reload(self, plan: Plan) -> None:
        """Go on with other keys and another list."""
        with self.lock:
            self.plan = plan
            self._runtime.supervisor.reload(self.link, plan)

    def changed(self) -> bool:
        """Make a wait return."""
        self._wakeup.set()
        return True

    def progress(self) -> int | None:
        """Return how many messages were taken; None while some wait."""
        with self.lock, contextlib.suppress(zmq.ZMQError):  # closed meanwhile
            if int(self.link.socket.get(zmq.EVENTS)) & POLLIN:
                self.changed()  # the look has made the descriptor quiet
                return None
        return self._received

    def _has_news(self) -> bool:
        """Tell whether there is something to read: a tenth of the cost of finding out by zmq.Again."""
        return bool(self._events() & POLLIN)

    def _skip_rest(self) -> None:
        """Leave the socket at the beginning of a message."""
        self._dropped += 1
        while self._more():
            self._recv(int(zmq.NOBLOCK))

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors to wait for, which is done next."""
        self._waited = True
        return self._filenos

    def wake(self) -> None:
        """Make a wait return."""
        self._wakeup.set()

    def counts(self) -> Counts:
        """Return what was counted so far."""
        return Counts(
            sent=self._sent,
            received=self._received,
            dropped=self._dropped,
            refused=self.link.refused,
            reconnects=self.link.reconnects,
            clients=self.link.clients,
        )

    def close(self) -> None:
        """Close the link, now or when the call has finished that a signal handler interrupted."""
        with self.lock:
            self.closed = True
            self._wakeup.set()
            if self.busy:
                return
        self.link.close()
