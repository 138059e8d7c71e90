"""A broker that runs: both sides open, a thread between them. Does not know how a message gets through."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
import threading
from types import TracebackType

import zmq

from eis.msgbus.broker.forwarding import Forwarding
from eis.msgbus.broker.proxying import Proxying
from eis.msgbus.broker.settings import Settings, Side, located
from eis.msgbus.broker.stats import BrokerStats
from eis.msgbus.exceptions import InvalidConfig, MessageBusError
from eis.msgbus.transports.zmq import IpcTransport, TcpTransport
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.transport import Services

__all__ = ["Broker"]

_FINISH = 0.5  # seconds

_log = logging.getLogger("eis.msgbus.broker")


class Broker:
    """Carry messages from publishers to subscribers until it is closed; `counting` has each message counted.

    libzmq's proxy does it, unless messages are counted, somebody has rights to some topics only, or none may be
    dropped: then they are carried one by one.

    Raises:
        InvalidConfig: the settings are wrong; `where` begins with the side.
        AddressInUse, MessageBusError: a side cannot listen.
    """

    def __init__(self, settings: Settings, *, counting: bool = False) -> None:
        _schedule(settings)
        plans = _plan(settings.frontend, zmq.XSUB), _plan(settings.backend, zmq.XPUB)
        nodrop = settings.backend.nodrop
        self._ended = threading.Event()
        self._closing = False
        self._failure: Exception | None = None
        self._end = contextlib.ExitStack()
        try:
            self._open(plans, nodrop, fast=not (counting or nodrop or plans[0].topics or plans[1].topics))
        except BaseException:
            self._end.close()
            raise

    def _open(self, plans: tuple[Plan, Plan], nodrop: bool, *, fast: bool) -> None:
        services = Services()
        self._end.callback(services.close)
        self._way: Proxying | Forwarding
        if fast:
            self._way = proxying = Proxying(services.context)
            self._end.callback(proxying.close)
            self.frontend, self.backend = (self._link(plan, services) for plan in plans)
            proxying.begin(self.frontend.socket, self.backend.socket)
        else:
            self._way = forwarding = Forwarding(nodrop)
            self._end.callback(forwarding.close)
            self.frontend, self.backend = (self._link(plan, services) for plan in plans)
            forwarding.begin(self.frontend, self.backend)
        self._thread = threading.Thread(target=self._run, name="msgbus-broker", daemon=True)
        self._thread.start()
        self._end.callback(self._stop)

    def _link(self, plan: Plan, services: Services) -> Link:
        link = Link(plan, services, self._wake, self._way.turns, settle=self._settle)
        self._end.callback(link.close)
        return link

    def _wake(self) -> None:
        """Have a thread that waits look again: another one touched the sockets."""
        if isinstance(self._way, Forwarding):
            self._way.wakeup.set()

    def _settle(self) -> bool:
        self._wake()
        return True

    def _run(self) -> None:
        way = self._way
        try:
            while not self._closing:
                with way.turns.own:
                    way.work()
                way.turns.give_way()
                way.rest()
        except Exception as error:  # noqa: BLE001  # it is told where the broker is waited for
            self._failure = error
            _log.critical("the broker has ended: %s", error)
        self._ended.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the broker has ended; tell whether it has.

        Raises:
            MessageBusError: it ended by itself.
        """
        ended = self._ended.wait(seconds)
        if self._failure is not None:
            raise MessageBusError(f"the broker has ended: {self._failure}") from self._failure
        return ended

    @property
    def stats(self) -> BrokerStats:
        """Return what was counted so far."""
        topics = self._way.stats() if isinstance(self._way, Forwarding) else None
        refused = self.frontend.refused + self.backend.refused
        return BrokerStats(topics, self.frontend.clients, self.backend.clients, refused)

    def close(self) -> None:
        """End, deliver what was taken within 2 seconds, and free both addresses."""
        self._end.close()

    def _stop(self) -> None:
        """End the thread, and carry what it left."""
        self._closing = True
        self._way.turns.hurry()
        self._wake()
        self._thread.join()
        with self._way.turns:
            self._way.finish(_FINISH)

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _plan(side: Side, kind: int) -> Plan:
    """Plan the socket of a side.

    Raises:
        InvalidConfig: with the side in front of the place.
    """
    with located(side.name):
        transport = TcpTransport(side.config) if side.config["type"] == "zmq_tcp" else IpcTransport(side.config)
        plan = transport.plan_of_broker(kind)
    if kind == zmq.XPUB:
        plan = dataclasses.replace(plan, options=(*plan.options, (zmq.SNDHWM, side.send_queue)))
    return plan


def _schedule(settings: Settings) -> None:
    """Have the system schedule this thread, and all that it starts, as the settings say."""
    if settings.policy is None:
        return
    if sys.platform != "linux":
        raise InvalidConfig("can be set on Linux only", "sched_policy")
    try:
        os.sched_setscheduler(0, getattr(os, settings.policy), os.sched_param(settings.priority))
    except OSError as error:
        problem = f"cannot be scheduled as {settings.policy} with priority {settings.priority}: {error.strerror}"
        raise MessageBusError(problem) from error
