"""One ZeroMQ socket at one address: opened as planned, watched, closed. Does not know what the frames mean."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING

import zmq

from eis.msgbus import keys
from eis.msgbus._config import Clients
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.guard import Guard
from eis.msgbus.transports.zmq.listening import Listening
from eis.msgbus.transports.zmq.owner import LinkOwner
from eis.msgbus.transports.zmq.plain_text import warn_of_plain_text
from eis.msgbus.transports.zmq.plan import Plan, subscriptions
from eis.msgbus.transports.zmq.self_test import demand_refusal
from eis.msgbus.transports.zmq.supervised import Supervised
from eis.msgbus.transports.zmq.watch import EVENTS, Watch

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.runtime import Runtime

__all__ = ["Link"]

_UNBIND_PATIENCE = 1.0  # seconds
_serial = itertools.count()


class Link(Supervised):
    """Open the socket of a plan, and keep what its supervisor finds out.

    Raises:
        AddressInUse: somebody else listens there.
        MessageBusError: the socket cannot be opened; everything that was opened before is closed again.
    """

    def __init__(self, plan: Plan, runtime: Runtime, owner: LinkOwner, after: Link | None = None) -> None:
        super().__init__(plan, owner, after)
        self._process = os.getpid()
        self._runtime = runtime
        self._domain = f"{plan.endpoint} {next(_serial)}"  # never empty: ZeroMQ asks nobody about an empty one
        self._closing = contextlib.ExitStack()  # in the inverse order of opening
        runtime.links.add(self)
        try:
            self._open()
        except BaseException as error:
            self._closing.close()
            runtime.links.discard(self)
            if isinstance(error, zmq.ZMQError):
                raise self._explained(error) from error
            raise

    def _open(self) -> None:
        warn_of_plain_text(self.plan)
        with self.lock:
            self._open_socket()
        if isinstance(self.plan.admitted, Clients):
            self._knock()

    def _open_socket(self) -> None:
        socket = self.socket = self._runtime.context.socket(self.plan.kind)
        self._closing.callback(socket.close)
        for option, value in self.plan.options + subscriptions(self.plan):
            socket.set(option, value)
        self._set_credentials()
        self.fd = int(socket.FD)
        self.listening = Listening(socket, self.plan)
        self._guard = Guard(socket, self._runtime.access, self._domain, self.plan.address)
        self._closing.callback(self._guard.close)
        if self.plan.admitted is not None:
            self.door = self._guard.admit(self.plan.admitted)
        self._runtime.supervisor.watch(self._events(), Watch(self))
        if self.plan.bind:
            self._closing.callback(self.listening.close)
            self.listening.begin()
        else:
            socket.connect(self.plan.endpoint)

    def _events(self) -> zmq.Socket[bytes]:
        """Open what reads the events before there are any: libzmq would wait for ever for a reader that is missing."""
        address = f"inproc://events of {self._domain}"
        reader = self._runtime.context.socket(zmq.PAIR)
        try:
            self.socket.monitor(address, EVENTS)
        except BaseException:
            reader.close()
            raise
        reader.connect(address)
        return reader

    def _knock(self) -> None:
        """See a stranger refused."""
        secret = dict(self.plan.credentials[0])[zmq.CURVE_SECRETKEY]
        assert isinstance(secret, bytes)
        assert self.door is not None
        if not self.listening.endpoint:
            raise MessageBusError(self.stopped)  # by the watchdog, meanwhile
        demand_refusal(self.plan.kind, self.listening.endpoint, keys.public_key(secret.decode()), self.door)

    @property
    def clients(self) -> dict[str, int]:
        """Return how many connections were let in, by the names of clients; empty where everybody is."""
        return dict(self.door.let_in) if self.door else {}

    def raise_fault(self) -> None:
        """Raise why nobody is served; or what the supervisor found out, once."""
        if self.stopped:
            raise MessageBusError(self.stopped)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault

    def close(self) -> None:
        """Close the socket; it goes on delivering what was sent for as long as its plan says. Free the address."""
        if os.getpid() != self._process:  # a forked child: the socket is its parent's
            return
        with self.lock:
            self._closing.close()
        self._runtime.links.discard(self)
        if self.plan.bind and not self._runtime.supervisor.is_this_thread():
            self.unbound.wait(_UNBIND_PATIENCE)
