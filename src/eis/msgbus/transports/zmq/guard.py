"""Who is let in at one socket: by the access control, or everybody. Does not know where the socket listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq

from eis.msgbus._config import Clients, Users
from eis.msgbus.exceptions import MessageBusError

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.access import AccessControl
    from eis.msgbus.transports.zmq.door import Door

__all__ = ["Guard", "covers"]


class Guard:
    """Have the access control asked about every connection that comes to a socket, once there is a list.

    It holds for what the socket binds to after that. `domain` tells the sockets of one access control apart, `place`
    tells people which one it is.
    """

    def __init__(self, socket: zmq.Socket[bytes], access: AccessControl, domain: str, place: str) -> None:
        self._socket = socket
        self._access = access
        self._domain = domain
        self._place = place

    def admit(self, admitted: Clients | Users) -> Door:
        """Let these in, and nobody when the access control does not answer; return their door."""
        door = self._access.admit(self._domain, self._place, admitted)
        self._socket.set(zmq.ZAP_DOMAIN, self._domain.encode())
        self._socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)
        if self._socket.get(zmq.ZAP_ENFORCE_DOMAIN) != 1:
            raise MessageBusError("this libzmq cannot enforce an allow-list (ZMQ_ZAP_ENFORCE_DOMAIN)")
        return door

    def close(self) -> None:
        """Let nobody in any more of those about whom the access control is asked."""
        self._access.forget(self._domain)


def covers(after: Clients | Users | None, before: Clients | Users | None) -> bool:
    """Tell whether everybody who was let in before still is, by the same name and to the same topics."""
    if isinstance(before, Clients) and isinstance(after, Clients):
        return before.names.items() <= after.names.items() and before.topics == after.topics
    if isinstance(before, Users) and isinstance(after, Users):
        return {*before.users} <= {*after.users} and {*before.groups} <= {*after.groups}
    return before is after
