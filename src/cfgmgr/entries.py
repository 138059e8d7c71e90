"""An entry of the interfaces, as the original's applications ask for it. Opens no socket, reads no store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eis.msgbus.interfaces import Interface, InvalidConfig

__all__ = ["Client", "Publisher", "Server", "Subscriber"]


class _Entry:
    """Tell what every entry has."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    def get_msgbus_config(self) -> dict[str, Any]:
        """Return the dict that goes into `MsgbusContext`."""
        return self._interface.config

    def get_interface_value(self, key: str) -> Any:
        """Return what the entry says under `key`, as it is written.

        Raises:
            InvalidConfig: it has no such key.
        """
        try:
            return self._interface.entry[key]
        except KeyError:
            raise InvalidConfig("expected a value, got nothing", f"{self._interface.where}.{key}") from None

    def get_endpoint(self) -> str | dict[str, Any]:
        """Return where it is, after the overrides of the environment."""
        endpoint = self._interface.endpoint
        return endpoint if isinstance(endpoint, str) else dict(endpoint)


class _WithTopics(_Entry):
    def get_topics(self) -> list[str]:
        """Return the topics; `["*"]` is `[""]`, the beginning of all of them."""
        return self._interface.topics

    def set_topics(self, topics: Sequence[str]) -> bool:
        """Have other topics from now on, here and in the configuration; the list stays as it is."""
        self._interface = self._interface.with_topics(topics)
        return True


class _WithClients(_Entry):
    def get_allowed_clients(self) -> list[str]:
        """Return the names of the applications that are let in."""
        return self._interface.allowed_clients


class Publisher(_WithTopics, _WithClients):
    """Be an entry of the Publishers."""


class Subscriber(_WithTopics):
    """Be an entry of the Subscribers."""


class Server(_WithClients):
    """Be an entry of the Servers."""


class Client(_Entry):
    """Be an entry of the Clients."""
