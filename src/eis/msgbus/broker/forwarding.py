"""The slow way through a broker, on which each message is looked at: who may publish it, and who misses it.

It costs half of the rate of small messages, so that it is taken only where somebody asks for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import zmq

from eis.msgbus._waiting import Wakeup, poller
from eis.msgbus._wire import Frames
from eis.msgbus.broker.last_values import LastValues
from eis.msgbus.broker.settings import LastValue
from eis.msgbus.broker.stats import Counters, LastValueStats, TopicStats, by_topic
from eis.msgbus.broker.turns import Turns
from eis.msgbus.broker.wanted import Giving, Wanted
from eis.msgbus.transports.zmq.calls import LAST, backend_calls, int_option
from eis.msgbus.transports.zmq.granting import GrantedSubscriptions
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.peer import source_of
from eis.msgbus.transports.zmq.reading import read_message
from eis.msgbus.transports.zmq.sending import send_all
from eis.msgbus.transports.zmq.subscriptions import Subscriptions

__all__ = ["Forwarding"]

_BATCH = 100  # messages until others may have the sockets
_REST = 0.5  # seconds


class Forwarding:
    """Carry messages one by one.

    With `nodrop` the slowest subscriber holds all up; without, who has no room misses a message, and that is counted.
    """

    def __init__(self, nodrop: bool, last_value: LastValue | None = None) -> None:
        self.turns = Turns(lambda: None)
        self.wakeup = Wakeup()
        self._nodrop = nodrop
        self._last = None if last_value is None else LastValues(last_value)
        self._held: Frames = ()  # a message for which there is no room
        self._counters = Counters()
        self._stalled: set[int] = set()  # whose messages somebody misses: the counts, by their id
        self._busy = False

    def begin(self, frontend: Link, backend: Link) -> None:
        """Take the sockets of the two sides."""
        self._frontend, self._backend = frontend, backend
        self._send, subscriptions = backend_calls(backend.socket)
        tell, self._recv = backend_calls(frontend.socket)
        self._more = int_option(frontend.socket, zmq.RCVMORE)
        self._rights = frontend.plan.topics
        self._wanted = Wanted(tell, () if self._last is None else self._last.prefixes)
        self._subscriptions = self._read_by(subscriptions)
        self._any = poller((frontend.fd, backend.fd, self.wakeup.fileno()))
        self._room = poller((backend.fd, self.wakeup.fileno()))
        self._stirred = poller((backend.fd,))

    def _read_by(self, subscriptions: Callable[..., Any]) -> Subscriptions:
        if self._last is not None:
            return Giving(subscriptions, self._wanted, self._backend, self._give, self._send)
        if self._backend.plan.topics:
            return GrantedSubscriptions(subscriptions, self._wanted, self._backend, None)
        return Subscriptions(subscriptions, self._wanted)

    def _give(self, prefix: bytes, may_send: bool) -> None:
        """Give the last value to whose subscription was read last, or count that it is not given."""
        assert self._last is not None
        if (frames := self._last.newest(prefix)) is None:
            return
        if may_send and self._send_to_last(frames):
            self._last.given()
        else:
            self._last.missed(frames[0])

    def _send_to_last(self, frames: Frames) -> bool:
        """Send to whose subscription was read last, and to nobody else (ZMQ_XPUB_MANUAL_LAST_VALUE).

        libzmq does that for one message, the next one. False: there is no room in the queue, and newer ones wait there.
        """
        socket = self._backend.socket
        socket.set(zmq.XPUB_MANUAL_LAST_VALUE, 1)
        try:
            send_all(self._send, frames)
        except zmq.Again:
            return False
        finally:
            socket.set(zmq.XPUB_MANUAL_LAST_VALUE, 0)
            socket.set(zmq.XPUB_MANUAL, 1)  # the line before ends that too
        return True

    def work(self) -> None:
        """Carry a batch of what is there. The caller holds the lock."""
        self.wakeup.clear()
        self._look()
        self._subscriptions.read()
        more = self._forward()
        news = self._look()  # which may have made the descriptor quiet: there may be room now
        self._busy = more or news or (bool(self._held) and self._pass_on(self._held))

    def _look(self) -> bool:
        """Take what subscribers report: who has read is left out no longer. Tell whether there are subscriptions."""
        if self._stirred(0):
            self._stalled.clear()
        return bool(int(self._backend.socket.get(zmq.EVENTS)) & zmq.POLLIN)

    def rest(self) -> None:
        """Wait until there may be something to do."""
        if not self._busy:
            (self._room if self._held else self._any)(_REST)

    def _forward(self) -> bool:
        """Tell whether there may be more."""
        if self._held and not self._pass_on(self._held):
            return False
        for _ in range(_BATCH):
            try:
                first = self._recv(LAST, copy=not self._rights)
            except zmq.Again:
                return False
            if not self._take(first, read_message(self._recv, self._more, first if not self._rights else first.bytes)):
                return False
        return True

    def finish(self, seconds: float) -> None:
        """Carry what has come, at most for so long. The caller holds the lock."""
        end = time.monotonic() + seconds
        while self._forward() and time.monotonic() < end:
            pass

    def _take(self, first: Any, frames: Frames) -> bool:
        """Count a message and pass it on, if its publisher may; tell whether there is room for the next."""
        name = frames[0]
        counts = self._counters.of(name)
        if self._rights and not self._may_publish(first, name):
            counts[3] += 1
            return True
        counts[0] += 1
        counts[1] += sum(map(len, frames))
        if self._stalled:
            self._look()
        stalled = id(counts) in self._stalled
        counts[2] += stalled
        if self._pass_on(frames):
            return True
        self._look()  # libzmq itself looks for what was read once in a millisecond only
        if self._pass_on(frames):
            return True
        if self._nodrop:
            return False
        self._drop_for_some(frames, counts, stalled=stalled)
        return True

    def _drop_for_some(self, frames: Frames, counts: list[int], *, stalled: bool) -> None:
        """Pass a message on to those who have room."""
        counts[2] += not stalled
        self._stalled.add(id(counts))
        self._backend.socket.set(zmq.XPUB_NODROP, 0)
        try:
            self._pass_on(frames)
        finally:
            self._backend.socket.set(zmq.XPUB_NODROP, 1)

    def _may_publish(self, frame: zmq.Frame, name: bytes) -> bool:
        source, door = source_of(frame), self._frontend.door
        return source is not None and door is not None and door.may_publish(source.name, name)

    def _pass_on(self, frames: Frames) -> bool:
        """Queue a message for every subscriber; False, and it is held: some queue has no room."""
        try:
            send_all(self._send, frames)
        except zmq.Again:  # from the first frame only: a message goes as a whole
            self._held = frames
            return False
        self._held = ()
        if self._last is not None:
            self._last.keep(frames)
        return True

    def stats(self) -> dict[str, TopicStats]:
        """Return what was counted, by topic."""
        with self.turns:
            counted, subscriptions = self._counters.copied(), dict(self._wanted.subscriptions)
        return by_topic(counted, subscriptions)

    def last_values(self) -> LastValueStats | None:
        """Return what is kept for who comes late; None where nothing is."""
        with self.turns:
            return None if self._last is None else self._last.stats

    def close(self) -> None:
        """Let go of the descriptor."""
        self.wakeup.close()
