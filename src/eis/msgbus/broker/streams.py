"""Both sides of a broker, open, and a thread between them. Does not know how a message gets through."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Mapping

import zmq

from eis.msgbus.broker.forwarding import Forwarding
from eis.msgbus.broker.proxying import Proxying
from eis.msgbus.broker.settings import Side
from eis.msgbus.broker.stats import LastValueStats, TopicStats
from eis.msgbus.broker.values import located
from eis.msgbus.transports.zmq import IpcTransport, TcpTransport
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.owner import LinkOwner
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.runtime import Runtime

__all__ = ["Streams"]

_FINISH = 0.5  # seconds


class Streams(LinkOwner):
    """Carry messages from publishers to subscribers until closed; `counting` has each message counted.

    libzmq's proxy does it, unless messages are counted, somebody has rights to some topics only, none may be dropped,
    or the last ones are kept: then they are carried one by one. `failed` is told what ended it by itself; both
    addresses are free then.

    Raises:
        InvalidConfig: a side is wrong; `where` begins with its name.
        AddressInUse, MessageBusError: a side cannot listen.
    """

    def __init__(self, frontend: Side, backend: Side, failed: Callable[[Exception], object], *, counting: bool) -> None:
        plans = _plan(frontend, zmq.XSUB), _plan(backend, zmq.XPUB)
        looks = counting or backend.nodrop or backend.last_value or plans[0].topics or plans[1].topics
        self._closing = self._broken = False
        self._failed = failed
        self._end = contextlib.ExitStack()
        try:
            self._open(plans, backend, fast=not looks)
        except BaseException:
            self._end.close()
            raise

    def _open(self, plans: tuple[Plan, Plan], backend: Side, *, fast: bool) -> None:
        runtime = Runtime()
        self._end.callback(runtime.close)
        way = Proxying(runtime.context) if fast else Forwarding(backend.nodrop, backend.last_value)
        self._way, self.lock = way, way.turns
        self._end.callback(way.close)
        self.frontend, self.backend = (self._link(plan, runtime) for plan in plans)
        way.begin(self.frontend, self.backend)
        self._thread = threading.Thread(target=self._run, name="msgbus-broker", daemon=True)
        self._thread.start()
        self._end.callback(self._stop)

    def _link(self, plan: Plan, runtime: Runtime) -> Link:
        link = Link(plan, runtime, self)
        self._end.callback(link.close)
        return link

    def changed(self) -> bool:
        """Have a thread that waits look again: another one touched the sockets."""
        if isinstance(self._way, Forwarding):
            self._way.wakeup.set()
        return True

    def settle(self) -> bool:
        """Have the news of a socket looked at, once."""
        return self.changed()

    def _run(self) -> None:
        way = self._way
        try:
            while not self._closing:
                with way.turns.own:
                    way.work()
                way.turns.give_way()
                way.rest()
        except Exception as error:  # noqa: BLE001  # it is told where the broker is waited for
            self._broken = True
            try:
                for link in (self.frontend, self.backend):  # who is connected notices, and another may listen there
                    link.close()
            finally:
                self._failed(error)

    def topics(self) -> Mapping[str, TopicStats] | None:
        """Return what was counted by topic; None where messages are not looked at."""
        return self._way.stats() if isinstance(self._way, Forwarding) else None

    def last_values(self) -> LastValueStats | None:
        """Return what is kept for who comes late; None where nothing is."""
        return self._way.last_values() if isinstance(self._way, Forwarding) else None

    def close(self) -> None:
        """End, deliver what was taken within 2 seconds, and free both addresses."""
        self._end.close()

    def _stop(self) -> None:
        """End the thread, and carry what it left."""
        self._closing = True
        self._way.turns.hurry()
        self.changed()
        self._thread.join()
        if not self._broken:
            with self._way.turns:
                self._way.finish(_FINISH)


def _plan(side: Side, kind: int) -> Plan:
    """Plan the socket of a side.

    Raises:
        InvalidConfig: with the side in front of the place.
    """
    with located(side.name):
        transport = TcpTransport(side.config) if side.config["type"] == "zmq_tcp" else IpcTransport(side.config)
        plan = transport.plan_of_broker(kind)
    if kind == zmq.XPUB:
        one_by_one = side.last_value is not None  # subscriptions are granted, so that each may get its last value
        options = (*plan.options, (zmq.SNDHWM, side.send_queue))
        plan = dataclasses.replace(plan, options=options, native=one_by_one)
    return plan
