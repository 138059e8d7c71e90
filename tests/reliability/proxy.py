"""A TCP proxy that does harm on command: slow, silent, broken or recorded connections. Knows no protocol."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

__all__ = ["Proxy", "swallow"]

Harm = Callable[[bytes], bytes]
_CHUNK = 16384
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close says so with a reset


def _pass_on(data: bytes) -> bytes:
    return data


def swallow(data: bytes) -> bytes:  # noqa: ARG001  # what a black hole does
    return b""


class Proxy:
    """Forward the connections that come to `port` to the port `to` of this machine.

    `to_client` and `to_server` may change what passes; `rate` is how many bytes a second go to each client, `delay` how
    many seconds each piece of them is late, 0 for no limit; `record` gets all that passes.
    """

    def __init__(self, to: int) -> None:
        self.to_client: Harm = _pass_on
        self.to_server: Harm = _pass_on
        self.rate = self.delay = 0.0
        self.record: Callable[[bytes], object] = len
        self.connections = 0
        self.stop = threading.Event()
        self._to = to
        self._pairs: set[_Pair] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.05)
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(OSError):
                self._forward(self._server.accept()[0])

    def _forward(self, client: socket.socket) -> None:
        self.connections += 1
        try:
            server = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            client.close()
            return
        self._pairs = {pair for pair in self._pairs if pair.is_alive()} | {_Pair(self, client, server)}

    def half_close(self) -> None:
        """Tell every client that the server will say nothing more, while the server may still hear it."""
        for pair in self._pairs:
            with contextlib.suppress(OSError):
                pair.client.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End every connection as a host does that has forgotten it."""
        for pair in self._pairs:
            pair.cut = True

    def close(self) -> None:
        """End everything."""
        self.stop.set()
        self._thread.join(5)
        self._server.close()
        for pair in self._pairs:
            pair.join(5)


class _Pair(threading.Thread):
    """Carry what one client and the server say to each other; one thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        super().__init__(name="proxy-down", daemon=True)
        self.client, self.server, self.cut = client, server, False
        self._proxy = proxy
        for each in (client, server):
            each.settimeout(0.1)
        self.start()

    def run(self) -> None:
        up = threading.Thread(target=self._carry, args=(self.client, self.server), name="proxy-up", daemon=True)
        up.start()
        self._carry(self.server, self.client)
        up.join()
        for each in (self.client, self.server):
            if self.cut:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()

    @property
    def _ended(self) -> bool:
        return self.cut or self._proxy.stop.is_set()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while not self._ended:
                with contextlib.suppress(TimeoutError):
                    if not (data := source.recv(_CHUNK)):
                        break
                    self._pass(data, sink)
        if not self.cut:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _pass(self, data: bytes, sink: socket.socket) -> None:
        self._proxy.record(data)
        down = sink is self.client
        if down and (pause := self._proxy.delay + (len(data) / self._proxy.rate if self._proxy.rate else 0)):
            self._proxy.stop.wait(pause)
        left = memoryview(self._proxy.to_client(data) if down else self._proxy.to_server(data))
        while left and not self._ended:
            with contextlib.suppress(TimeoutError):
                left = left[sink.send(left) :]
