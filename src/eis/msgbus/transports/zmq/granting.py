"""Grant subscriptions one by one: if the client may have them, and in the form that it asks for."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import zmq

from eis.msgbus._waiting import poller
from eis.msgbus._wire.native import MARK, PLAIN, Ask, form_filter, is_ask, read_ask
from eis.msgbus.transports.zmq.afterwards import Say, at_once
from eis.msgbus.transports.zmq.calls import LAST, POLLIN, int_option
from eis.msgbus.transports.zmq.door import Seldom
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.peer import Peer, Source, source_of
from eis.msgbus.transports.zmq.subscriptions import SUBSCRIBE, UNSUBSCRIBE, Subscriptions
from eis.msgbus.transports.zmq.topics import Topics

__all__ = ["GrantedSubscriptions", "Held", "Offer"]

_log = logging.getLogger("eis.msgbus.zmq")

_LONGEST, _BETWEEN_LOOKS = 0.03, 16  # seconds that a peer who never stops keeps the lock; frames between two looks
_MOST_BYTES = 100_000  # of the subscriptions of one client; libzmq needs some 85 times as much
_EACH = 20
_UNTIL_MORE = 0.001  # seconds
_LOOK_AGAIN = 0.05  # seconds until a connection that libzmq told the end of may be closed
_EVERY_FIRST_BYTE = tuple(bytes((byte,)) for byte in (*range(0x80), *range(0xC2, 0xF5)))
"""The bytes with which text in UTF-8, or the NUL behind an empty name, can begin."""


class Held(NamedTuple):
    """Say whose a subscription is, and the form in which it is granted; None: in none."""

    client: str | Peer
    form: bytes | None


class Offer(Protocol):
    """Offer native streams."""

    def form(self, ask: Ask) -> bytes:
        """Return the form that who asks gets."""

    def answer(self, ask: Ask, form: bytes) -> None:
        """Tell who asks how its subscription begins; the subscription to the answer is granted."""

    def ended(self, ask: Ask) -> None:
        """Take notice that nobody asks so any more."""


class GrantedSubscriptions(Subscriptions):
    """Grant subscriptions one by one (ZMQ_XPUB_MANUAL): if the client may have them, and in the form that it asks for.

    Whoever calls holds the lock of the socket. `offer` is None where there is no other than the plain form.

    libzmq grants to whom the frame that was read last came from. It loses count of whose that is when a client sends
    what no subscriber sends. Then nothing is granted until all has been read. Where clients have rights, that client is
    barred, and everybody connects and subscribes anew; elsewhere it is cut off, with those whose subscription came
    between. The same happens to a client with more subscriptions than are good for the memory.
    """

    def __init__(
        self, recv: Callable[..., Any], topics: Topics, link: Link, offer: Offer | None, say: Say = at_once
    ) -> None:
        super().__init__(recv, topics)
        self._say = say
        self._link = link
        self._offer = offer
        self._rights = link.plan.topics
        self._events = int_option(link.socket, zmq.EVENTS)
        self._stirred = poller((link.fd,))
        self._held: dict[bytes, dict[Peer, Held]] = {}  # by what is subscribed to
        self._bytes: Counter[str | Peer] = Counter()
        self._left: Counter[bytes] = Counter()  # how often libzmq told that somebody left, less those found
        self._look_at = 0.0
        self._in_step = True
        self._reading = False
        self._seldom = Seldom()

    def wanted(self, name: bytes) -> Iterator[bytes]:
        """Yield the form of each granted subscription that messages with this name frame have."""
        for prefix, holders in self._held.items():
            if name.startswith(prefix):
                yield from (held.form for held in holders.values() if held.form is not None)

    def read(self) -> bool:
        """Grant and refuse what was asked for since the last time; tell whether there was anything."""
        if self._reading or not (self._events() & POLLIN or self._left):  # reading: a signal handler publishes
            return False
        self._reading = True
        try:
            self._read_all()
            if self._left and time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + _LOOK_AGAIN
                for what in tuple(self._left):
                    self._find_who_left(what)
        except BaseException:  # a signal handler's, such as KeyboardInterrupt: what was read may not be granted yet
            self._in_step = False
            self._link.cut()
            raise
        finally:
            self._reading = False
        return True

    def _read_all(self) -> None:
        end = time.monotonic() + _LONGEST
        while self._read_some(end) and self._stirred(_UNTIL_MORE):
            pass

    def _read_some(self, end: float) -> bool:
        """Read what libzmq has; tell whether more may be on its way: it hands out a few at a time."""
        read = 0
        try:
            while time.monotonic() < end:
                for _ in range(_BETWEEN_LOOKS):
                    frame = self._recv(LAST, copy=False)
                    read += 1
                    self._take(source_of(frame), frame.bytes)
        except zmq.Again:
            self._in_step = True
            return read > 0
        return False

    def _take(self, source: Source | None, frame: bytes) -> None:
        kind, what = frame[:1], frame[1:]
        if source is None:
            self._leave(what)  # the connection is closed: libzmq itself unsubscribes
        elif kind not in (SUBSCRIBE, UNSUBSCRIBE):
            self._in_step = False
            self._break_off(source, "sent what no subscriber sends")
        elif not self._in_step:
            if not self._rights:
                source.peer.hang_up()  # it subscribes anew
        elif kind == SUBSCRIBE:
            self._subscribe(source, what)
        else:
            self._unsubscribe(source.peer, what)

    def _subscribe(self, source: Source, what: bytes) -> None:
        if self._bytes[source.name or source.peer] > _MOST_BYTES:
            self._break_off(source, "subscribed to too much")
            return
        if what[:1] != MARK:
            self._grant(source, what)
            return
        self._hold(source, what, None)
        if is_ask(what) and self._offer is not None and source.is_subscriber and (ask := read_ask(what)) is not None:
            self._change_over(source, ask)

    def _grant(self, source: Source, prefix: bytes) -> None:
        """Grant a plain subscription, unless it is granted in another form already."""
        holders = self._held.setdefault(prefix, {})
        if source.peer not in holders:
            self._hold(source, prefix, PLAIN if self._may_subscribe(source, prefix) else None)
        if (form := holders[source.peer].form) is not None:  # also again: the one before may have been another's
            self._apply(zmq.SUBSCRIBE, form, prefix, source.peer)

    def _change_over(self, source: Source, ask: Ask) -> None:
        """Grant the form that is asked for, take the one before away, and answer: nothing is published in between."""
        assert self._offer is not None
        before = self._held.get(ask.prefix, {}).get(source.peer)
        if before is None and not self._may_subscribe(source, ask.prefix):
            self._hold(source, ask.prefix, None)
        elif before is None or before.form is not None:
            if before is not None and before.form is not None:
                self._apply(zmq.UNSUBSCRIBE, before.form, ask.prefix, source.peer)
            form = self._offer.form(ask)
            self._hold(source, ask.prefix, form)
            self._apply(zmq.SUBSCRIBE, form, ask.prefix, source.peer)
            self._set(zmq.SUBSCRIBE, ask.subscription)
            self._offer.answer(ask, form)  # at last: while it sends, libzmq may forget whose frame was read last

    def _may_subscribe(self, source: Source, prefix: bytes) -> bool:
        door = self._link.door
        return not self._rights or (door is not None and door.may_subscribe(source.name, prefix, self._say))

    def _hold(self, source: Source, what: bytes, form: bytes | None) -> None:
        self._release(what, source.peer)
        client = source.name or source.peer
        self._held.setdefault(what, {})[source.peer] = Held(client, form)
        if form is not None:
            self._topics.want(what, form, 1)
        self._bytes[client] += len(what) + _EACH

    def _unsubscribe(self, peer: Peer, what: bytes) -> None:
        if what[:1] == MARK:
            self._set(zmq.UNSUBSCRIBE, what)
        if (form := self._release(what, peer)) is not None:
            self._apply(zmq.UNSUBSCRIBE, form, what, peer)

    def _apply(self, option: int, form: bytes, prefix: bytes, peer: Peer) -> None:
        """Have libzmq let one form through, or no longer. Who subscribes to all plain messages gets no others."""
        if form != PLAIN or len(prefix) > 1:
            self._set(option, form_filter(form, prefix))
            return
        for each in (prefix,) if prefix else _EVERY_FIRST_BYTE:
            if option == zmq.SUBSCRIBE or not self._has_otherwise(peer, b"" if prefix else each):
                self._set(option, each)

    def _has_otherwise(self, peer: Peer, prefix: bytes) -> bool:
        """Tell whether a peer holds a plain subscription that is made of, or makes up, the same first bytes."""
        held = self._held.get(prefix, {}).get(peer)
        return held is not None and held.form == PLAIN

    def _set(self, option: int, what: bytes) -> None:
        with contextlib.suppress(zmq.ZMQError):  # the client is gone
            self._link.socket.set(option, what)

    def _leave(self, what: bytes) -> None:
        """Take notice that somebody has left; libzmq does not tell who."""
        self._left[what] += 1
        self._find_who_left(what)

    def _find_who_left(self, what: bytes) -> None:
        """Release what closed connections held; where the system does not tell (Windows), what one of them held.

        A question is the asker's alone, and its connection may not be closed yet. Who has connected anew meanwhile asks
        the same again: that is kept.
        """
        holders = tuple(self._held.get(what, ()))
        gone = [peer for peer in holders if peer.gone]
        ask = read_ask(what) if is_ask(what) else None
        if ask is not None and not gone:
            gone.extend(holders[:1])
        for peer in gone if gone and gone[0].inode else gone[:1]:
            if ask is not None:
                self._found(ask.prefix, peer)
            self._found(what, peer)
        if what not in self._held or not self._left[what]:
            del self._left[what]

    def _found(self, what: bytes, peer: Peer) -> None:
        if peer in self._held.get(what, ()):
            self._release(what, peer)
            self._left[what] -= 1

    def _release(self, what: bytes, peer: Peer) -> bytes | None:
        """Forget one subscription; return the form in which it was granted, None if it was in none."""
        holders = self._held.get(what, {})
        if peer not in holders:
            return None
        client, form = holders.pop(peer)
        self._bytes[client] -= len(what) + _EACH
        if not holders:
            del self._held[what]
        if not self._bytes[client]:
            del self._bytes[client]
        if form is not None:
            self._topics.want(what, form, -1)
        if self._offer is not None and is_ask(what) and (ask := read_ask(what)) is not None:
            self._offer.ended(ask)
        return form

    def _break_off(self, source: Source, why: str) -> None:
        if self._rights and self._link.door is not None:
            self._in_step = False
            self._link.door.bar(source.name, why, self._say)
            self._link.cut()
            return
        source.peer.hang_up()
        self._link.failed += 1
        if (more := self._seldom()) is not None:
            who = source.name or "a client"
            self._say(_log.warning, "%s cuts %s off: it %s%s", self._link.plan.address, who, why, more)
