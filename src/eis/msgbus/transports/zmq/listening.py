"""Where a socket listens: begun, ended with every connection, begun again. Does not know who connects, nor when to."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import zmq

from eis.msgbus.transports.zmq.plan import Plan

__all__ = ["Listening"]


class Listening:
    """Bind a socket to the port or socket file of its plan. Whoever calls holds the lock of the socket.

    `endpoint` is how libzmq names the place, empty while nobody listens.
    """

    def __init__(self, socket: zmq.Socket[bytes], plan: Plan) -> None:
        self.endpoint = ""
        self._socket = socket
        self._plan = plan
        self._file: Any = None  # a SocketFile, which only Unix has
        if sys.platform != "win32" and plan.bind:
            from eis.msgbus.transports.zmq.inherited import let_go_after_fork  # needs Unix

            let_go_after_fork(self)

    def begin(self) -> None:
        """Listen.

        Raises:
            zmq.ZMQError, MessageBusError: that is not possible now.
        """
        if sys.platform != "win32" and self._plan.file is not None:
            from eis.msgbus.transports.zmq.socket_file import SocketFile  # needs Unix

            if self._file is None:
                self._file = SocketFile(self._plan.file, self._plan.group)
            else:
                self._file.renew()  # the path was ours all the time
            self._socket.set(zmq.USE_FD, self._file.detach())
        self._socket.bind(self._plan.endpoint)
        self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT)

    def end(self) -> None:
        """Listen no more and cut every connection; what waits for the peers is lost.

        The connections end while the socket is touched: libzmq goes on with what it began only then.
        """
        if self.endpoint and not self._socket.closed:
            linger = self._socket.get(zmq.LINGER)
            self._socket.set(zmq.LINGER, 0)
            endpoint, self.endpoint = self.endpoint, ""  # first: a signal may come in between
            try:
                self._socket.unbind(endpoint)
            finally:
                self._socket.set(zmq.LINGER, linger)

    def let_go(self) -> Collection[object]:
        """Close what the child of a fork has of a socket file; return under which names libzmq listens."""
        if self._file is not None:
            return self._file.let_go()  # type: ignore[no-any-return]  # a SocketFile
        return (int(self.endpoint.rpartition(":")[2]),) if self.endpoint and not self._socket.closed else ()

    def close(self) -> None:
        """Free the path of a socket file, before the socket is closed."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
