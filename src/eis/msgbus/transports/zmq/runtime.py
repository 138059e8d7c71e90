"""What the links of one transport run on: a ZeroMQ context and its two threads. Does not know who publishes what."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import zmq
import zmq.utils.garbage  # has an end of its own, which has to come after that of the open buses

from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.access import AccessControl
from eis.msgbus.transports.zmq.descriptors import look_for_room, raise_limit
from eis.msgbus.transports.zmq.supervisor import Supervisor
from eis.msgbus.transports.zmq.watchdog import Watchdog

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.link import Link

__all__ = ["Runtime"]

_MAX_SOCKETS = 4096
_OLDEST = (4, 3, 5)  # of libzmq: the ones before have weaknesses that need no key
_TERM_PATIENCE = 3.0  # seconds; more than a closed socket's linger


class Runtime:
    """Hold what the links of one transport share: a private ZeroMQ context, its supervisor and access control.

    The context is private because an access control belongs to a context, and whoever shares it could replace it.
    """

    def __init__(self) -> None:
        if zmq.zmq_version_info() < _OLDEST:
            raise MessageBusError(f"expected libzmq 4.3.5 or newer, got {zmq.zmq_version()}: pip install -U pyzmq")
        raise_limit()
        look_for_room()
        self._process = os.getpid()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
        self.links: set[Link] = set()
        self.access = AccessControl(self.context)
        self.supervisor = Supervisor(Watchdog(self.access, self.links))

    def close(self) -> None:
        """Close what is still open, end the threads, then the context. In a forked child, leave it to the parent."""
        if os.getpid() != self._process:
            return
        for link in tuple(self.links):  # of a channel that Ctrl-C came into while it was opened
            link.close()
        if self.supervisor.is_this_thread():  # what was told of an event closes the context; no thread waits for itself
            threading.Thread(target=self._end, name="msgbus-end").start()
        else:
            self._end()

    def _end(self) -> None:
        self.access.close()
        self.supervisor.close()
        self._end_context()

    def _end_context(self) -> None:
        """Wait for what closed sockets still deliver, but not for ever for one that Ctrl-C left in a traceback."""
        ending = threading.Thread(target=self.context.destroy, name="msgbus-end", daemon=True)
        try:
            ending.start()
        except RuntimeError:  # Python 3.12 starts no thread any more when its program ends
            self.context.destroy()
        else:
            ending.join(_TERM_PATIENCE)
