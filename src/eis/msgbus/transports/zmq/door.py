"""The door of one guarded socket: who gets in, who came, who was turned away. Does not know how ZeroMQ asks."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections import Counter
from typing import Protocol

from zmq.utils import z85

from eis.msgbus import keys
from eis.msgbus._config import Clients, Users

__all__ = ["Door", "Question"]

_log = logging.getLogger("eis.msgbus.access")

_KEY_BYTES = 32
_WARN_EVERY = 10.0  # seconds between two warnings about one door


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """Hold what ZAP tells about a client: where it connects from, and what it says of itself.

    `address` is an IP address, or "localhost:uid:gid:pid" at a socket file, by the word of the kernel.
    """

    address: str
    mechanism: bytes
    credentials: tuple[bytes, ...]

    @property
    def key(self) -> bytes | None:
        """Return the 32 bytes of the public key whose secret the client has proved to hold."""
        if self.mechanism == b"CURVE" and len(self.credentials) == 1 and len(self.credentials[0]) == _KEY_BYTES:
            return self.credentials[0]
        return None


class Judge(Protocol):
    """Know who is on a list of one kind."""

    def judge(self, question: Question) -> str | None:
        """Return the name of who asks, None if it is not on the list."""

    def told(self, question: Question) -> str:
        """Return who asks as an operator knows them, and where they have to be listed."""


class KnownKeys:
    """Know clients by their CURVE keys."""

    def __init__(self, clients: Clients) -> None:
        self._names = {keys.bits(key): name for key, name in clients.names.items()}

    def judge(self, question: Question) -> str | None:
        """Return the client's name."""
        return None if question.key is None else self._names.get(question.key)

    def told(self, question: Question) -> str:
        """Return the client's public key, which is no secret."""
        if question.key is None:
            return "a client without a key"
        return f"the client with the key {z85.encode(question.key).decode()}, which is not in allowed_clients,"


class Door:
    """Let in who is on the list, count and log it; `place` is the address of the socket.

    `let_in` counts by name. `throw_away` is the key of a client that we send ourselves to see it refused: neither
    logged nor counted.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.let_in: Counter[str] = Counter()
        self.refused = 0
        self.throw_away: bytes | None = None
        self._judge: Judge
        self._warned = float("-inf")
        self._told = 0

    def judge_by(self, who: Clients | Users) -> None:
        """Replace the list."""
        if isinstance(who, Clients):
            self._judge = KnownKeys(who)
        elif sys.platform == "win32":
            raise NotImplementedError("users of socket files need Unix")
        else:
            from eis.msgbus.transports.zmq.known_users import KnownUsers

            self._judge = KnownUsers(who)

    def judge(self, question: Question) -> str | None:
        """Return the name of who is let in, None if nobody is."""
        name = self._judge.judge(question)
        if name is not None:
            self.let_in[name] += 1
        elif not self._is_ours(question):
            self.refused += 1
        return name

    def _is_ours(self, question: Question) -> bool:
        return self.throw_away is not None and question.key == self.throw_away

    def tell(self, question: Question, name: str | None) -> None:
        """Log what `judge` returned; refusals once in a while only."""
        if name is not None:
            _log.info("%s let %s in, from %s", self.place, name, question.address)
            return
        if self._is_ours(question) or time.monotonic() - self._warned < _WARN_EVERY:
            return
        refused, self._warned, self._told = self.refused - self._told, time.monotonic(), self.refused
        more = f" ({refused} refusals since the last warning)" if refused > 1 else ""
        _log.warning("%s refused %s from %s%s", self.place, self._judge.told(question), question.address, more)
