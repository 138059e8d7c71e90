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
from eis.msgbus.transports.zmq.afterwards import Say, at_once

__all__ = ["Door", "Question", "Seldom"]

_log = logging.getLogger("eis.msgbus.access")

_KEY_BYTES = 32
_WARN_EVERY = 10.0  # seconds between two warnings about one door
_BARRED = 60.0  # seconds


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


class Seldom:
    """Tell when to warn: now and then only, and how often it happened meanwhile."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._untold = 0

    def __call__(self) -> str | None:
        """Return what to add to the warning, None if it is too early for one."""
        self._untold += 1
        if time.monotonic() - self._last < _WARN_EVERY:
            return None
        untold, self._untold, self._last = self._untold, 0, time.monotonic()
        return f" ({untold} times since the last warning)" if untold > 1 else ""


class Door:
    """Let in who is on the list, count and log it; `place` is the address of the socket.

    `let_in` counts by name, `refused` who is not let in, `refused_topics` subscriptions. `throw_away` is the key of a
    client that we send ourselves to see it refused: neither logged nor counted.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.let_in: Counter[str] = Counter()
        self.refused = 0
        self.refused_topics = 0
        self.throw_away: bytes | None = None
        self._who: Clients | Users
        self._judge: Judge
        self._barred: dict[str, float] = {}  # until when
        self._seldom = Seldom()
        self._seldom_topic = Seldom()

    def judge_by(self, who: Clients | Users) -> None:
        """Replace the list, and forget who was barred."""
        if isinstance(who, Clients):
            judge: Judge = KnownKeys(who)
        elif sys.platform == "win32":
            raise NotImplementedError("users of socket files need Unix")
        else:
            from eis.msgbus.transports.zmq.known_users import KnownUsers

            judge = KnownUsers(who)
        self._who, self._judge, self._barred = who, judge, {}

    def judge(self, question: Question) -> str | None:
        """Return the name of who is let in, None if nobody is."""
        name = self._judge.judge(question)
        if name is not None and time.monotonic() >= self._barred.get(name, 0.0):
            self.let_in[name] += 1
            return name
        if not self._is_ours(question):
            self.refused += 1
        return None

    def admits(self, uid: int, gid: int, pid: int) -> bool:
        """Tell whether a process would be let in, by the word of the kernel on who it is."""
        name = self._judge.judge(Question(f"localhost:{uid}:{gid}:{pid}", b"NULL", ()))
        return name is not None and time.monotonic() >= self._barred.get(name, 0.0)

    def _is_ours(self, question: Question) -> bool:
        return self.throw_away is not None and question.key == self.throw_away

    def tell(self, question: Question, name: str | None) -> None:
        """Log what `judge` returned; refusals once in a while only."""
        if name is not None:
            _log.info("%s let %s in, from %s", self.place, name, question.address)
        elif not self._is_ours(question) and (more := self._seldom()) is not None:
            listed = self._judge.judge(question)
            who = self._judge.told(question) if listed is None else f"{listed}, which is barred,"
            _log.warning("%s refused %s from %s%s", self.place, who, question.address, more)

    def bar(self, name: str, why: str, say: Say = at_once) -> None:
        """Do not let a client in for a while, unless the list is replaced."""
        self._barred = {**self._barred, name: time.monotonic() + _BARRED}
        text = "%s bars %s for %g seconds, and cuts every connection: it %s"
        say(_log.error, text, self.place, name, _BARRED, why)

    def may_subscribe(self, name: str, prefix: bytes, say: Say = at_once) -> bool:
        """Tell whether the client may read every topic that begins so; if not, count and log it."""
        return self._may(name, prefix, "refused %s the topic %r: not all that begins so is its own", say)

    def may_publish(self, name: str, topic: bytes) -> bool:
        """Tell whether the client may publish the topic of this name frame; if not, count and log it."""
        return self._may(name, topic, "does not carry what %s publishes as %r: it may not publish that", at_once)

    def _may(self, name: str, prefix: bytes, refused: str, say: Say) -> bool:
        if isinstance(self._who, Clients) and _is_text(prefix) and self._who.may_subscribe(name, prefix.decode()):
            return True
        self.refused_topics += 1
        if (more := self._seldom_topic()) is not None:
            topic = prefix.removesuffix(b"\0").decode(errors="replace")
            say(_log.warning, f"%s {refused} by zmq_tcp_publish.topics%s", self.place, name, topic, more)
        return False


def _is_text(prefix: bytes) -> bool:
    """Tell whether it begins no topic half-way through a character: the rules are about text."""
    try:
        prefix.decode()
    except UnicodeDecodeError:
        return False
    return True
