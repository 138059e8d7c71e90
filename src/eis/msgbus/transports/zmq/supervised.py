"""What a supervisor may do with a link: take notice, give its address up and back, cut, stop, resume. Opens nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import zmq

from eis.msgbus._status import LiveStatus
from eis.msgbus.exceptions import AddressInUse, MessageBusError
from eis.msgbus.transports.zmq.guard import Guard, covers
from eis.msgbus.transports.zmq.listening import Listening
from eis.msgbus.transports.zmq.owner import LinkOwner
from eis.msgbus.transports.zmq.plan import Plan

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.door import Door

__all__ = ["Supervised"]

_UNTIL_TOLD = 0.02  # seconds


class Supervised:
    """Keep what the supervisor finds out about one socket, and do what it wants done with it.

    While its `owner` is busy, `tell_at` is when it is told again of a change. A link that comes `after` another goes on
    counting where that stopped: `refused`, `reconnects`, and `losses` of connections. `renewed` counts how often the
    supervisor gave the socket its address anew, and whatever was still to be sent before is lost.
    """

    failed: int = 0  # handshakes
    reconnects: int = 0
    losses: int = 0
    broken_off: int = 0  # handshakes in a row that the server broke off
    turn: int = 0  # of the keys that the server may have
    stopped: str = ""  # why nobody is served, if so
    _outdated = False  # the socket has not yet what the plan says
    door: Door | None = None  # of who is on a list; None where everybody is let in

    # What is opened as planned, by who knows how.
    socket: zmq.Socket[bytes]
    fd: int
    listening: Listening
    _guard: Guard

    def __init__(self, plan: Plan, owner: LinkOwner, after: Supervised | None = None) -> None:
        self.plan = plan
        self.owner = owner
        self.lock = owner.lock
        self.unbound = threading.Event()
        self.renewed = 0
        self.status = LiveStatus("listening" if plan.bind else "connecting")
        if after is not None:
            self._go_on(after)
        self.fault: Exception | None = None
        self.up = False
        self.tell_at: float | None = None

    def _go_on(self, after: Supervised) -> None:
        """Count on, and take the status over: the link before has no say in it any more."""
        self.failed, self.reconnects = after.refused, after.reconnects
        self.losses, self.broken_off, self.turn = after.losses, after.broken_off, after.turn
        self.status, after.status = after.status, LiveStatus("closed")

    @property
    def refused(self) -> int:
        """Return how many connections and subscriptions were turned away; or how often this connection was."""
        return self.failed + (self.door.refused + self.door.refused_topics if self.door else 0)

    def _changed(self) -> None:
        if self.tell_at is None:
            self.tell()

    def tell(self) -> None:
        """Tell the owner that something has changed; in a moment, if it is busy."""
        self.tell_at = None if self.owner.changed() else time.monotonic() + _UNTIL_TOLD

    def begin(self) -> None:
        """Tell that the connection of the link before is no more: this one has none yet."""
        if self.status.now.state == "connected":
            self.status.change("reconnecting", "a request was given up")

    def connected(self) -> None:
        """Take notice of a connection that passed its handshake."""
        if not self.plan.bind:
            self.up, self.fault, self.broken_off = True, None, 0
            self.reconnects = self.losses  # all losses but the last were made good before, and now the last is
            self.status.change("connected")
            self.touch()
        self._changed()

    def touch(self) -> None:
        """Let libzmq work: subscriptions go out again, and a connection ends, only when the socket is touched."""
        events = 0
        with self.lock, contextlib.suppress(zmq.ZMQError):  # closed meanwhile
            events = int(self.socket.get(zmq.EVENTS))
        if events & zmq.POLLIN:
            self._changed()  # the look has made the descriptor quiet
        if self.owner.settle is not None:
            self.owner.settle()

    def disconnected(self) -> None:
        """Take notice of a connection that ended; one that did not pass its handshake was none."""
        if self.up:
            self.up = False
            self.losses += 1
            self.status.change("reconnecting", "the connection was lost")
        elif not self.plan.bind and self.status.now.state != "denied":
            self.unreachable("whoever is there ends the connection before its handshake is done")
        self._changed()

    def beat(self, *, alive: bool) -> None:
        """Take notice whether messages come."""
        if alive:
            self.status.change("connected")
        else:
            self.status.change("stalled", f"no message for {self.plan.stalled_after} ms")

    def unreachable(self, reason: str = "nobody is there") -> None:
        """Take notice that there was no connection."""
        self.status.change("reconnecting" if self.losses else "connecting", reason)

    def refuse(self, fault: Exception) -> None:
        """Take notice that the peer refused us: the next send or receive raises `fault`."""
        self.failed += 1
        self.fault = fault
        self.status.change("denied", str(fault))
        self._changed()

    def hold_off(self) -> None:
        """Stop connecting, until `connect_anew`."""
        with self.lock, contextlib.suppress(zmq.ZMQError):  # libzmq may have given the address up itself
            self.owner.drain()
            self.socket.disconnect(self.plan.endpoint)

    def connect_anew(self) -> None:
        """Give the socket its address again; to libzmq it is a new one."""
        with self.lock:
            self.renewed += 1
            self.hold_off()
            with contextlib.suppress(zmq.ZMQError):  # closed meanwhile
                self._set_credentials()
                self.socket.connect(self.plan.endpoint)
        self._changed()

    def reload(self, plan: Plan) -> None:
        """Go on with other keys and another list; end the connections that cannot."""
        before, self.plan = self.plan, plan
        if plan.bind:
            self._reload_bound(before)
        elif not self._keeps_keys(before):
            self.fault, self.broken_off = None, 0
            if self.up:
                self.disconnected()
            self.connect_anew()

    def _reload_bound(self, before: Plan) -> None:
        with self.lock:
            if self.socket.closed:
                return
            self._outdated = True
            if self.plan.credentials != before.credentials or not covers(self.plan.admitted, before.admitted):
                self.cut()  # first: if the rest fails, nobody is served until `resume` can do it
            self._update()

    def _update(self) -> None:
        """Let the socket have the keys and the list of a new plan, if it has not."""
        if self._outdated:
            try:
                self._set_credentials()
                if self.plan.admitted is not None:
                    self.door = self._guard.admit(self.plan.admitted)
            except BaseException:
                self.cut()
                raise
            self._outdated = False

    def _keeps_keys(self, before: Plan) -> bool:
        """Tell whether the connection is made with keys that are still ours."""
        used = before.credentials[self.turn % len(before.credentials)]
        stays = used in self.plan.credentials
        self.turn = self.plan.credentials.index(used) if stays else 0
        return stays and self.up

    def stop(self, reason: str) -> None:
        """Serve nobody until `resume`: cut every connection, free the address; the owner is told why."""
        self.touch()  # or else libzmq would not go on with what `cut` began
        if self.stopped != reason:
            self.cut()
            self.stopped = reason
            self.status.change("failed", reason)
            self._changed()

    def resume(self) -> None:
        """Listen again after `cut` or `stop`, as soon as the address is free."""
        if self.listening.endpoint:
            return
        self.touch()
        if not self.unbound.is_set():
            return
        with self.lock:
            if self.socket.closed or self.listening.endpoint:  # meanwhile
                return
            try:
                self._update()
                self.listening.begin()
            except (zmq.ZMQError, MessageBusError, OSError) as error:
                reason = str(self._explained(error)) if isinstance(error, zmq.ZMQError) else str(error)
            else:
                self.unbound.clear()
                reason = ""
        self._tell_of_resume(reason)

    def _tell_of_resume(self, reason: str) -> None:
        self.stopped = reason
        self.status.change("failed" if reason else "listening", reason)
        self._changed()

    def cut(self) -> None:
        """End every connection; what waits for the peers is lost. The supervisor's thread then calls `resume`."""
        with self.lock:
            self.listening.end()
            self.owner.was_cut()

    def _set_credentials(self) -> None:
        """Set the keys, of several those whose turn it is; they hold for connections from now on."""
        if self.plan.credentials:
            for option, value in self.plan.credentials[self.turn % len(self.plan.credentials)]:
                self.socket.set(option, value)

    def _explained(self, error: zmq.ZMQError) -> MessageBusError:
        kind = AddressInUse if error.errno == zmq.EADDRINUSE else MessageBusError
        what = "listen at" if self.plan.bind else "connect to"  # pyzmq's own text repeats the address
        return kind(f"cannot {what} {self.plan.address}: {zmq.strerror(error.errno or 0)}")
