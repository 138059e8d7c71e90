"""The two modes, as transports: what differs between them is where a name lives, and so the plan."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import zmq

from eis.msgbus._channel import Channel, Closed, Publishing, Serving
from eis.msgbus._config import PUBLISH, Bind, Config, Connect, Directory, Users
from eis.msgbus.exceptions import InvalidConfig
from eis.msgbus.transports.zmq import plan as plans
from eis.msgbus.transports.zmq.door import Door
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.publisher import PublisherSocket
from eis.msgbus.transports.zmq.requester import RequesterChannel
from eis.msgbus.transports.zmq.runtime import Runtime
from eis.msgbus.transports.zmq.service import ServiceChannel
from eis.msgbus.transports.zmq.socket_path import check_directory, check_path
from eis.msgbus.transports.zmq.subscriber import SubscriberChannel

__all__ = ["IpcTransport", "TcpTransport"]

_Opened = SubscriberChannel | ServiceChannel | RequesterChannel
C = TypeVar("C", bound=_Opened)


class _ZmqTransport:
    """Open channels by plan, and close them all at the end."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = Config(config)
        self._lock = threading.RLock()
        self._runtime: Runtime | None = None
        self._open: list[tuple[str, _Opened]] = []
        self._publishers: dict[str, PublisherSocket] = {}
        self._closed = False

    def publisher(self, topic: str) -> Publishing:
        """Open a publisher; those of one address share a socket."""
        plan = self._publisher_plan(topic)
        with self._lock:
            runtime = self._opened_runtime()
            plan = self._current(plan, topic)
            if (socket := self._publishers.get(plan.endpoint)) is not None:
                _check_same_list(socket.plan, plan, topic)
                channel = socket.channel(topic)
                if not socket.closed:
                    return channel
                channel.close()  # too late: its last publisher has closed the socket, or does so right now
                socket.link.close()
            socket = self._publishers[plan.endpoint] = PublisherSocket(plan, runtime)
            return socket.channel(topic)

    def subscriber(self, topic: str, *, metadata_only: bool = False) -> Channel:
        """Open a subscriber."""
        plan = self._client_plan(zmq.SUB, topic)
        opened = functools.partial(SubscriberChannel, topic=topic, metadata_only=metadata_only)
        return self._keep(topic, plan, opened)

    def service(self, name: str) -> Serving:
        """Open a service."""
        plan = self._service_plan(name)
        return self._keep(name, plan, ServiceChannel)

    def requester(self, name: str) -> Channel:
        """Open a requester."""
        plan = self._client_plan(zmq.REQ, name)
        return self._keep(name, plan, RequesterChannel)

    def reload(self, config: Mapping[str, Any]) -> None:
        """Go on with other keys, names and lists."""
        new = Config(config)
        with self._lock:
            self._check_open()
            self._config.check_reload(new)
            changes = [*self._rekeyed_publishers(new), *self._rekeyed_channels(new)]
            self._config = new
            for opened, plan in changes:
                opened.reload(plan)

    def _rekeyed_channels(self, config: Config) -> Iterator[tuple[_Opened, Plan]]:
        for name, channel in self._open:
            if not channel.closed:
                yield channel, _checked(channel.plan, self._rekeyed(channel.plan, name, config), name)

    def _rekeyed_publishers(self, config: Config) -> Iterator[tuple[PublisherSocket, Plan]]:
        for socket in self._publishers.values():
            topics = [channel.topic for channel in socket.channels]
            plans_of_all = [_checked(socket.plan, self._rekeyed(socket.plan, topic, config), topic) for topic in topics]
            for topic, plan in zip(topics, plans_of_all, strict=True):
                _check_same_list(plans_of_all[0], plan, topic)
            if plans_of_all:
                yield socket, plans_of_all[0]

    def close(self) -> None:
        """Close every channel, and deliver what was sent."""
        with self._lock:
            self._closed = True
            runtime, self._runtime = self._runtime, None
        for opened in (*(channel for _, channel in self._open), *self._publishers.values()):
            opened.close()
        if runtime is not None:
            runtime.close()

    def _current(self, plan: Plan, name: str) -> Plan:
        """Return the plan as the configuration has it now; it may have been reloaded since the plan was made."""
        return _checked(plan, self._rekeyed(plan, name, self._config), name)

    def _keep(self, name: str, plan: Plan, opened: Callable[[Plan, Runtime], C]) -> C:
        with self._lock:  # held all the time, so that nothing is opened behind the back of `close`
            runtime = self._opened_runtime()
            channel = opened(self._current(plan, name), runtime)
            self._open = [*(kept for kept in self._open if not kept[1].closed), (name, channel)]
            return channel

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("this context is closed")

    def _opened_runtime(self) -> Runtime:
        self._check_open()
        if self._runtime is None:
            self._runtime = Runtime()
        return self._runtime

    def _publisher_plan(self, topic: str) -> Plan:
        raise NotImplementedError

    def _client_plan(self, kind: int, name: str) -> Plan:
        raise NotImplementedError

    def _service_plan(self, name: str) -> Plan:
        raise NotImplementedError

    def _rekeyed(self, plan: Plan, name: str, config: Config) -> Plan:
        """Return the plan with the keys and lists that `config` has for `name`."""
        raise NotImplementedError


class TcpTransport(_ZmqTransport):
    """Carry messages between machines: `zmq_tcp`."""

    def _publisher_plan(self, topic: str) -> Plan:  # noqa: ARG002  # all topics have one address
        where = self._config.tcp_publisher()
        if isinstance(where, Bind):
            return plans.tcp_bind(zmq.XPUB, where, self._config)
        return plans.tcp_connect(zmq.XPUB, where, self._config)

    def _client_plan(self, kind: int, name: str) -> Plan:
        return plans.tcp_connect(kind, self._config.tcp_client(name), self._config)

    def _service_plan(self, name: str) -> Plan:
        return plans.tcp_bind(zmq.ROUTER, self._config.tcp_service(name), self._config)

    def plan_of_broker(self, kind: int) -> Plan:
        """Plan a side of a broker, which listens where publishers would."""
        where = self._config.tcp_publisher()
        if isinstance(where, Connect):
            raise InvalidConfig("expected the address where this broker listens, not another's", f"{PUBLISH}.brokered")
        return plans.tcp_bind(kind, where, self._config)

    def _rekeyed(self, plan: Plan, name: str, config: Config) -> Plan:
        if plan.kind == zmq.XPUB:
            return plans.with_keys(plan, config.tcp_publisher())
        return plans.with_keys(plan, config.tcp_service(name) if plan.bind else config.tcp_client(name))


class IpcTransport(_ZmqTransport):
    """Carry messages between the processes of one machine: `zmq_ipc`."""

    _directory: Directory

    def __init__(self, config: Mapping[str, Any]) -> None:
        if sys.platform == "win32":
            raise InvalidConfig("zmq_ipc needs Unix sockets, which ZeroMQ has not on Windows; use zmq_tcp", "type")
        super().__init__(config)
        self._directory = self._config.directory()

    def _publisher_plan(self, topic: str) -> Plan:
        if self._config.brokered_ipc(topic):
            return self._client_plan(zmq.XPUB, topic)
        return self._plan_to_bind(zmq.XPUB, topic)

    def _client_plan(self, kind: int, name: str) -> Plan:
        path = self._path(name)
        check_directory(self._directory.path)
        return plans.ipc_connect(kind, path, self._config)

    def _service_plan(self, name: str) -> Plan:
        return self._plan_to_bind(zmq.ROUTER, name)

    def plan_of_broker(self, kind: int) -> Plan:
        """Plan a side of a broker, at the socket file of all names that have none of their own."""
        return self._plan_to_bind(kind, "")

    def _rekeyed(self, plan: Plan, name: str, config: Config) -> Plan:
        return dataclasses.replace(plan, admitted=config.users(name)) if plan.bind else plan

    def _plan_to_bind(self, kind: int, name: str) -> Plan:
        path = self._path(name)
        if sys.platform == "win32":
            raise NotImplementedError("socket files need Unix")
        else:  # noqa: RET506  # mypy follows no import of Unix here
            from eis.msgbus.transports.zmq.socket_directory import prepare

            group = prepare(self._directory)
            return plans.ipc_bind(kind, path, self._config, group, self._config.users(name))

    def _path(self, name: str) -> str:
        path = os.path.join(self._directory.path, self._config.socket_file(name))
        check_path(path)
        return path


def _check_same_list(first: Plan, other: Plan, topic: str) -> None:
    """Refuse a topic with a list of its own on the socket of others: the first list would hold for it, or none."""
    if first.admitted != other.admitted:
        problem = f"expected the same allowed_users and allowed_groups for all topics at {first.address}"
        raise InvalidConfig(problem, other.admitted.where if isinstance(other.admitted, Users) else topic)


def _checked(before: Plan, after: Plan, name: str) -> Plan:
    """Return the plan after a reload, if a running program can go on with it."""
    if before.admitted is not None and after.admitted is None:
        problem = "expected a list of who gets in, as before, got none: open a new context to let everybody in"
        raise InvalidConfig(problem, name)
    if before.topics is not after.topics:
        raise InvalidConfig(
            "cannot be begun or ended while a publisher is open: open a new context", f"{PUBLISH}.topics"
        )
    if after.admitted is not None:
        Door(after.address).judge_by(after.admitted)  # refuses users that nobody knows
    return after
