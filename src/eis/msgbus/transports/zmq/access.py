"""Who may connect: the ZAP handler (ZeroMQ RFC 27) of one ZeroMQ context. Does not know what is served.

It fails closed: a socket with an allow-list has a domain that is never empty and ZMQ_ZAP_ENFORCE_DOMAIN, so that
libzmq itself lets nobody in when no handler answers; and whatever goes wrong in here is answered with a refusal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

import zmq

from eis.msgbus import keys
from eis.msgbus._channel import Wakeup
from eis.msgbus._config import Clients, Users

__all__ = ["AccessControl"]

_log = logging.getLogger("eis.msgbus.access")

_VERSION = b"1.0"
_ENDPOINT = "inproc://zeromq.zap.01"
_KEY_BYTES = 32
_PATIENCE = 2.0  # seconds


class AccessControl:
    """Answer libzmq's question whether a client may connect to a domain, in a thread of its own.

    The thread begins with the first `admit`, before the socket of that domain is bound, and ends with `close`,
    after the last such socket was closed.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self._lock = threading.RLock()  # the garbage collector may close a link in the middle of `admit`
        self._stop = Wakeup()
        self._stopped = False
        self._admitted: Mapping[bytes, frozenset[bytes]] = {}  # replaced, never changed: the thread reads it
        self._thread: threading.Thread | None = None

    def admit(self, domain: str, who: Clients | Users) -> None:
        """Let these clients, and no others, into `domain`."""
        assert isinstance(who, Clients)
        with self._lock:
            admitted = frozenset(keys.bits(client) for client in who.names)
            self._admitted = {**self._admitted, domain.encode(): admitted}
            if self._thread is None:
                self._thread = self._start()

    def forget(self, domain: str) -> None:
        """Let nobody into `domain` any more."""
        with self._lock:
            self._admitted = {name: them for name, them in self._admitted.items() if name != domain.encode()}

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._stopped = True
            self._stop.set()
            if self._thread is not None and self._thread.is_alive():
                self._thread.join(_PATIENCE)
            self._stop.close()

    def _start(self) -> threading.Thread:
        handler = self._context.socket(zmq.ROUTER)  # a ROUTER skips a malformed question, a REP would stay stuck in it
        handler.linger = 0
        handler.bind(_ENDPOINT)
        thread = threading.Thread(target=self._serve, args=(handler,), name="msgbus-access", daemon=True)
        thread.start()
        return thread

    def _serve(self, handler: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(handler, zmq.POLLIN)
        poller.register(self._stop.fileno(), zmq.POLLIN)
        with handler:
            poller.poll()
            while not self._stopped:
                self._answer(handler)
                poller.poll()

    def _answer(self, handler: zmq.Socket[bytes]) -> None:
        """Answer one question, whatever is in it; an exception is a refusal, and never ends the thread."""
        try:
            question = handler.recv_multipart()
            handler.send_multipart([*question[:2], _VERSION, question[3], *self._judge(question), b"", b""])
        except Exception:  # noqa: BLE001  # whatever it is: who gets no answer does not get in
            _log.error("access control refuses a client: it cannot answer a question about it")

    def _judge(self, question: Sequence[bytes]) -> tuple[bytes, bytes]:
        try:
            return self._decide(question[4], question[7], question[8:])
        except Exception:  # noqa: BLE001  # fails closed, and the thread lives on
            _log.exception("access control refuses a client because of an error")
            return b"500", b"internal error"

    def _decide(self, domain: bytes, mechanism: bytes, credentials: Sequence[bytes]) -> tuple[bytes, bytes]:
        listed = self._admitted.get(domain, frozenset())
        if mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == _KEY_BYTES:
            if credentials[0] in listed:
                return b"200", b"OK"
            return b"400", b"key not listed"
        return b"400", b"expected CURVE"
