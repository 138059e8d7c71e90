"""The transport `memory`: its two keys, and the channels that are open. Does not know what they carry."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, TypeVar

from eis.msgbus._channel import Channel, Publishing, Serving
from eis.msgbus.exceptions import InvalidConfig, MessageBusError
from eis.msgbus.transports.memory.channel import Hub, HubChannel
from eis.msgbus.transports.memory.requests import RequesterChannel, ServiceChannel
from eis.msgbus.transports.memory.stream import PublisherChannel, SubscriberChannel

__all__ = ["MemoryTransport"]

C = TypeVar("C", bound=HubChannel)

_hubs: dict[str, Hub] = {}
_hubs_lock = threading.Lock()


class MemoryTransport:
    """Carry messages between the contexts of one process that name the same `hub`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._name = _hub_name(config)
        with _hubs_lock:
            self._hub = _hubs.setdefault(self._name, Hub())
        self._channels: list[HubChannel] = []
        self._closed = False

    def publisher(self, topic: str) -> Publishing:
        """Open a publisher."""
        return self._open(PublisherChannel, topic)

    def subscriber(self, topic: str, *, metadata_only: bool = False) -> Channel:  # noqa: ARG002  # nothing is sent
        """Open a subscriber."""
        return self._open(SubscriberChannel, topic)

    def service(self, name: str) -> Serving:
        """Open the one service of this name."""
        return self._open(ServiceChannel, name)

    def requester(self, name: str) -> Channel:
        """Open a requester."""
        return self._open(RequesterChannel, name)

    def reload(self, config: Mapping[str, Any]) -> None:
        """Accept the same hub: there is nothing that could change."""
        self._check_open()
        if (name := _hub_name(config)) != self._name:
            raise InvalidConfig(f"expected {self._name!r} as before, got {name!r}", "hub")

    def close(self) -> None:
        """Close what is open."""
        with self._hub.lock:
            self._closed = True
            for channel in self._channels:
                channel.close()

    def _open(self, kind: type[C], name: str) -> C:
        with self._hub.lock:
            self._check_open()
            channel = kind(self._hub, name)
            self._channels = [*(kept for kept in self._channels if not kept.closed), channel]
            return channel

    def _check_open(self) -> None:
        if self._closed:
            raise MessageBusError("this context is closed")


def _hub_name(config: Mapping[str, Any]) -> str:
    name = config.get("hub", "")
    if not isinstance(name, str):
        raise InvalidConfig(f"expected the name of a hub, got {type(name).__name__}", "hub")
    if strange := sorted(key for key in config if key not in ("type", "hub")):
        raise InvalidConfig("unknown key; memory has type and hub", strange[0])
    return name
