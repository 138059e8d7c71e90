"""What a user wrote for a broker, in any of three ways, to frozen values. Opens no socket.

Two files as for the original's broker, one file with both sides, or the `interfaces` of an EIS/EII application.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eis.msgbus._config import PUBLISH, QUEUE_BYTES, read_file, resolved
from eis.msgbus.broker.service_settings import TYPES, Service, services_of
from eis.msgbus.broker.values import check_known, located, number, object_at
from eis.msgbus.exceptions import InvalidConfig
from eis.msgbus.interfaces import Application, Interface, read_keys

__all__ = ["LastValue", "Service", "Settings", "Side", "read"]

_POLICIES = ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_IDLE")
PORTS = {"frontend": 60514, "backend": 60515}
_QUEUE = 1000
_OWN = ("zmq_send_hwm", "zmq_xpub_nodrop", "last_value")
_LAST_VALUE = ("topics", "max_topics", "max_bytes")
_KNOWN = (*PORTS, "services", "sched_policy", "sched_priority")


@dataclasses.dataclass(frozen=True)
class LastValue:
    """Say of which topics, by their beginnings, the last message is kept, of how many, in how many bytes."""

    topics: tuple[str, ...] = ("",)
    max_topics: int = 1000
    max_bytes: int = QUEUE_BYTES


@dataclasses.dataclass(frozen=True)
class Side:
    """Hold one side: the configuration of the bus, in which it is what publishers are, and how it queues.

    `send_queue` messages may wait for one subscriber; with `nodrop` publishers wait for the slowest one. `last_value`
    says what is kept for who comes late, if anything is.
    """

    name: str
    config: Mapping[str, Any] = dataclasses.field(repr=False)
    send_queue: int = _QUEUE
    nodrop: bool = False
    last_value: LastValue | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """Hold both sides, None where there are services only, and how the system schedules the broker.

    `policy` is None for as it does by itself.
    """

    frontend: Side | None
    backend: Side | None
    policy: str | None = None
    priority: int = 0
    services: tuple[Service, ...] = ()


def read(
    paths: Sequence[str | os.PathLike[str]],
    keys: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings that stand in one file, or in two: the frontend's and the backend's.

    `keys` are those of all applications, for `interfaces` in production.

    Raises:
        InvalidConfig: something is wrong; `where` begins with the side.
    """
    if len(paths) == 2:
        sides = dict(zip(PORTS, map(Path, paths), strict=True))
        frontend, backend = (_resolved(name, read_file(path), path) for name, path in sides.items())
        return _settings(frontend, backend, {}, environment)
    (path,) = map(Path, paths)
    written = read_file(path)
    if not isinstance(written, Mapping):
        raise InvalidConfig(f"expected an object, got {type(written).__name__}", str(path))
    if "interfaces" in written:
        return _of_interfaces(written, keys, environment)
    check_known(written, _KNOWN)
    services = services_of(written, path.parent)
    if services and not any(name in written for name in PORTS):
        return Settings(None, None, *_scheduling(written, environment), services)
    frontend, backend = (_resolved(name, object_at(written, name), path) for name in PORTS)
    return dataclasses.replace(_settings(frontend, backend, written, environment), services=services)


def _resolved(side: str, config: Any, path: Path) -> Mapping[str, Any]:
    with located(side):
        return resolved(config, path.parent)


def _of_interfaces(
    written: Mapping[str, Any], keys: str | os.PathLike[str] | None, environment: Mapping[str, str]
) -> Settings:
    name = environment.get("AppName") or ""
    known = None if keys is None else read_keys(keys, name)
    application = Application(written, keys=known, environment=environment)
    for kind, interfaces in (("Subscribers", application.subscribers), ("Publishers", application.publishers)):
        if not interfaces:
            raise InvalidConfig("expected the frontend in Subscribers and the backend in Publishers, got none", kind)
    frontend, backend = _config_of(application.subscribers[0]), _config_of(application.publishers[0])
    return _settings(frontend, backend, object_at(written, "config") if "config" in written else {}, environment)


def _config_of(interface: Interface) -> dict[str, Any]:
    return interface.config | {key: interface.entry[key] for key in _OWN if key in interface.entry}


def _settings(
    frontend: Mapping[str, Any], backend: Mapping[str, Any], rest: Mapping[str, Any], environment: Mapping[str, str]
) -> Settings:
    return Settings(_frontend(frontend), _backend(backend), *_scheduling(rest, environment))


def _scheduling(rest: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[str | None, int]:
    policy = rest.get("sched_policy", environment.get("SCHED_POLICY") or None)
    if policy is not None and policy not in _POLICIES:
        raise InvalidConfig(f"expected one of {', '.join(_POLICIES)}, got {policy!r}", "sched_policy")
    priority = rest.get("sched_priority", environment.get("SCHED_PRIORITY") or 0)
    if isinstance(priority, str) and priority.isdecimal():
        priority = int(priority)
    return policy, number(priority, "sched_priority", 0, 99)


def _frontend(config: Mapping[str, Any]) -> Side:
    for key in _OWN:
        if key in config:
            raise InvalidConfig("expected it at the backend, which has a queue for each subscriber", f"frontend.{key}")
    return Side("frontend", _bus("frontend", config))


def _backend(config: Mapping[str, Any]) -> Side:
    send_queue = number(config.get("zmq_send_hwm", _QUEUE), "backend.zmq_send_hwm", 0, 2**31 - 1)
    nodrop = config.get("zmq_xpub_nodrop", False)
    if nodrop not in (0, 1):
        raise InvalidConfig(f"expected true or false, got {nodrop!r}", "backend.zmq_xpub_nodrop")
    bus = {key: value for key, value in config.items() if key not in _OWN}
    last_value = _last_value(config.get("last_value", False), "backend.last_value")
    return Side("backend", _bus("backend", bus), send_queue, bool(nodrop), last_value)


def _last_value(value: Any, where: str) -> LastValue | None:
    if isinstance(value, bool):
        return LastValue() if value else None
    if not isinstance(value, Mapping):
        raise InvalidConfig(f"expected true, false or an object, got {type(value).__name__}", where)
    check_known(value, _LAST_VALUE, f"{where}.")
    topics = value.get("topics", [""])
    if not isinstance(topics, list) or not topics or not all(isinstance(topic, str) for topic in topics):
        raise InvalidConfig(f"expected a list of beginnings of topics, got {topics!r}", f"{where}.topics")
    most = number(value.get("max_topics", LastValue.max_topics), f"{where}.max_topics", 1, 10**6)
    most_bytes = number(value.get("max_bytes", LastValue.max_bytes), f"{where}.max_bytes", 1, 2**62)
    return LastValue(tuple(topics), most, most_bytes)


def _bus(side: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the bus in which the side is what its publishers are."""
    if config.get("type") not in TYPES:
        raise InvalidConfig(f"expected one of {', '.join(TYPES)}, got {config.get('type')!r}", f"{side}.type")
    bus = {**config, "native": False}
    if bus["type"] == "zmq_tcp":
        if "" in bus:  # as the original has the frontend: as a subscriber to everything
            bus[PUBLISH] = bus.pop("")
        if isinstance(bus.get(PUBLISH), Mapping):
            bus[PUBLISH] = {"port": PORTS[side], **bus[PUBLISH]}
    return bus
