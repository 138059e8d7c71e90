"""The contract of a transport, and how one is found: by an entry point, unless it is one of this package.

A package that brings a transport of its own names it in its `pyproject.toml`:

    [project.entry-points."eis.msgbus.transports"]
    carrier_pigeon = "pigeons:PigeonTransport"

and users choose it with `{"type": "carrier_pigeon"}`. All that such a package needs is offered here, and in
`eis.msgbus.exceptions`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from eis.msgbus._channel import Channel, Closed, Counts, Publishing, Request, Serving, Wakeup
from eis.msgbus._status import LiveStatus
from eis.msgbus._wire import Frames
from eis.msgbus.exceptions import InvalidConfig

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "Channel",
    "Closed",
    "Counts",
    "Frames",
    "LiveStatus",
    "Publishing",
    "Request",
    "Serving",
    "Transport",
    "Wakeup",
    "open_transport",
]

GROUP = "eis.msgbus.transports"

BUILT_IN = {
    "zmq_ipc": "eis.msgbus.transports.zmq:IpcTransport",
    "zmq_tcp": "eis.msgbus.transports.zmq:TcpTransport",
    "memory": "eis.msgbus.transports.memory:MemoryTransport",
}
"""The entry points of this package, which need not be looked up, and which no other package can take."""


class Transport(Protocol):
    """Open the channels of one context. A class that is called with the whole configuration, as the user wrote it.

    Every method may be called from any thread.

    Raises:
        InvalidConfig: when it is made, or at the latest in the four methods, before anything is opened.
    """

    def publisher(self, topic: str) -> Publishing:
        """Open a channel that sends to every subscriber of `topic`."""

    def subscriber(self, topic: str, *, metadata_only: bool = False) -> Channel:
        """Open a channel that receives every message whose topic begins with `topic`.

        With `metadata_only` nobody will look at the blobs: a transport may leave them with the publisher, or not care.
        """

    def service(self, name: str) -> Serving:
        """Open a channel that receives requests, each with its way back, and sends the answers."""

    def requester(self, name: str) -> Channel:
        """Open a channel that sends a request and receives its reply; a new request replaces the one before."""

    def reload(self, config: Mapping[str, Any]) -> None:
        """Go on with a configuration whose keys, names and lists may be others; all of it, or none if this raises.

        Raises:
            InvalidConfig: it is wrong, or something is different that cannot change while channels are open.
        """

    def close(self) -> None:
        """Close what is still open; deliver what was sent, as long as somebody takes it, within 2 seconds."""


def open_transport(kind: str, config: Mapping[str, Any]) -> Transport:
    """Return the transport that the installed packages offer under the name `kind`.

    Raises:
        InvalidConfig: no package offers it, or it refuses `config`.
    """
    if kind in BUILT_IN:
        return _loaded(kind, lambda: resolve_name(BUILT_IN[kind]))(config)
    offered = _entry_points()
    if kind not in offered:
        raise InvalidConfig(f"expected one of {', '.join(sorted({*offered, *BUILT_IN}))}, got {kind!r}", "type")
    return _loaded(kind, offered[kind].load)(config)


def _loaded(kind: str, load: Callable[[], Any]) -> Callable[[Mapping[str, Any]], Transport]:
    try:
        opener: Callable[[Mapping[str, Any]], Transport] = load()
    except (ImportError, AttributeError) as error:  # a package that lacks a part of itself, or of what it needs
        raise InvalidConfig(f"cannot load {kind!r}: {error}", "type") from error
    return opener


@functools.cache
def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # 20 milliseconds and 1.5 MB

    return {point.name: point for point in entry_points(group=GROUP)}
