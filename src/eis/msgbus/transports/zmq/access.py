"""Who may connect: the ZAP handler (ZeroMQ RFC 27) of one ZeroMQ context. Does not know what is served.

It fails closed: a socket with an allow-list has a domain that is never empty and ZMQ_ZAP_ENFORCE_DOMAIN, so that
libzmq itself lets nobody in when no handler answers; and whatever goes wrong in here is answered with a refusal.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence

import zmq

from eis.msgbus._config import Clients, Users
from eis.msgbus._waiting import Wakeup
from eis.msgbus.transports.zmq.door import Door, Question

__all__ = ["AccessControl"]

_log = logging.getLogger("eis.msgbus.access")

_VERSION = b"1.0"
_ENDPOINT = "inproc://zeromq.zap.01"
_PATIENCE = 2.0  # seconds

Reply = tuple[bytes, bytes, bytes]
"""Status, its text, and the client's name, as ZAP's user id."""
_REFUSED = (b"400", b"not listed", b"")
_ERROR = (b"500", b"internal error", b"")


class AccessControl:
    """Answer libzmq's question whether a client may connect to a domain, in a thread of its own.

    The thread begins with the first `admit`, before the socket of that domain is bound, and ends with `close`,
    after the last such socket was closed. If it should die before, `restart` begins it again with the same lists.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self._lock = threading.RLock()  # the garbage collector may close a link in the middle of `admit`
        self._stop = Wakeup()
        self._stopped = False
        self._doors: Mapping[bytes, Door] = {}  # replaced, never changed: the thread reads it
        self._thread: threading.Thread | None = None

    def admit(self, domain: str, place: str, who: Clients | Users) -> Door:
        """Let these, and no others, into `domain`, the socket at `place`; a domain that was known goes on counting."""
        with self._lock:
            door = self._doors.get(domain.encode()) or Door(place)
            door.judge_by(who)
            self._doors = {**self._doors, domain.encode(): door}
            if self._thread is None:
                self._thread = self._start()
            return door

    @property
    def alive(self) -> bool:
        """Tell whether the thread runs; it may be stuck nevertheless."""
        return self._thread is not None and self._thread.is_alive()

    def restart(self) -> None:
        """Begin the thread again if it has died, unless its socket has outlived it."""
        with self._lock, contextlib.suppress(zmq.ZMQError):
            if not self.alive and not self._stopped:
                self._thread = self._start()

    def asker(self) -> zmq.Socket[bytes]:
        """Return a socket that asks as libzmq does, for the thread that calls."""
        asker = self._context.socket(zmq.DEALER)
        asker.linger = 0
        asker.connect(_ENDPOINT)
        return asker

    def forget(self, domain: str) -> None:
        """Let nobody into `domain` any more."""
        with self._lock:
            self._doors = {name: door for name, door in self._doors.items() if name != domain.encode()}

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
        try:
            handler.bind(_ENDPOINT)
        except zmq.ZMQError:
            handler.close()
            raise
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
        """Answer one question, whatever is in it, then log it; an exception is a refusal, and never ends the thread."""
        try:
            frames = handler.recv_multipart()
            reply, tell = self._judge(frames)
            handler.send_multipart([*frames[:2], _VERSION, frames[3], *reply, b""])
            tell()
        except Exception:  # noqa: BLE001  # whatever it is: who gets no answer does not get in
            with contextlib.suppress(Exception):  # of a handler of the log
                _log.exception("access control cannot answer a question about a client, or log it")

    def _judge(self, frames: Sequence[bytes]) -> tuple[Reply, Callable[[], None]]:
        """Return the reply, and what logs it."""
        try:
            return self._decide(frames)
        except Exception as error:  # noqa: BLE001  # fails closed, and the thread lives on
            text = "access control refuses a client because of an error"
            return _ERROR, functools.partial(_log.error, text, exc_info=error)

    def _decide(self, frames: Sequence[bytes]) -> tuple[Reply, Callable[[], None]]:
        door = self._doors.get(frames[4])
        if door is None:  # it was closed meanwhile
            return _REFUSED, lambda: None
        question = Question(frames[5].decode("ascii", "replace"), frames[7], tuple(frames[8:]))
        name = door.judge(question)
        reply = _REFUSED if name is None else (b"200", b"OK", name.encode())
        return reply, functools.partial(door.tell, question, name)
