"""One socket for all publishers of an address: who is on it, who subscribes, who asks for what. Sends no messages."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq

from eis.msgbus._waiting import poller
from eis.msgbus._wire.native import METADATA, SHARED, WHOLE, Ask, Hello, Stamp
from eis.msgbus.loan import Lent
from eis.msgbus.transports.zmq.afterwards import Afterwards
from eis.msgbus.transports.zmq.batch import FEW, LONGEST, Flusher
from eis.msgbus.transports.zmq.calls import LAST, backend_calls
from eis.msgbus.transports.zmq.granting import GrantedSubscriptions
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.owner import LinkOwner
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.publishing import PublisherChannel
from eis.msgbus.transports.zmq.queues import MOST, SendQueue
from eis.msgbus.transports.zmq.streams import machine
from eis.msgbus.transports.zmq.subscriptions import Subscriptions
from eis.msgbus.transports.zmq.topics import Topic, Topics

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.runtime import Runtime

    if sys.platform == "linux":
        from eis.msgbus.transports.zmq.shared.sharing import Sharing
    else:
        Sharing = Any

__all__ = ["PublisherSocket"]

_PATIENCE = 0.01  # seconds
_LOOK_EVERY = 1_000_000  # nanoseconds; libzmq itself looks as often for what has come, while messages are sent


class PublisherSocket(LinkOwner):
    """Be the XPUB socket of one address."""

    def __init__(self, plan: Plan, runtime: Runtime) -> None:
        self.channels: list[PublisherChannel] = []
        self.closed = False
        self.lock: threading.RLock = threading.RLock()
        self.busy = False  # a message is half sent; only a signal handler ever sees this
        self.leaving: list[PublisherChannel] = []  # closed by a signal handler, meanwhile
        self.look_at = 0  # when to look for subscriptions, by time.monotonic_ns()
        self.awaited = False  # somebody waits for news, which whatever is sent takes away from the descriptor
        self.plan = plan
        self._runtime = runtime
        self.afterwards = Afterwards()
        self._topics = Topics(always_plain=not plan.native)
        self._sharing = self._open_sharing()
        self.link = Link(plan, runtime, self)
        self.send, recv = backend_calls(self.link.socket)
        self._subscriptions = (
            GrantedSubscriptions(recv, self._topics, self.link, self if plan.native else None, self.afterwards.say)
            if plan.native or plan.topics
            else Subscriptions(recv, self._topics)
        )
        self.queue = SendQueue(self.link.socket, plan.queue_bytes, self.afterwards.say)
        self._gathers = min(plan.largest, plan.queue_bytes // MOST) >= LONGEST  # the longest queue may be full of them
        self.gatherer: PublisherChannel | None = None  # whose messages wait
        self._flusher = Flusher(self._waiting, self._flush)
        self.stirred = poller((self.link.fd,))

    @property
    def special(self) -> bool:
        """Tell whether to look at something before each message: a broker may refuse us, access control have failed."""
        return not self.link.plan.bind or bool(self.link.stopped)

    def channel(self, topic: str) -> PublisherChannel:
        """Open one more publisher."""
        channel = PublisherChannel(self, topic)
        with self.lock:
            self.channels.append(channel)
        return channel

    def topic(self, name: bytes) -> Topic:
        """Return the topic with this name frame, which all its publishers share."""
        with self.lock:
            return self._topics.open(name, self._subscriptions.wanted)

    def may_gather(self) -> bool:
        """Tell whether messages may gather: batches are not too large, and somebody sees that none waits for long."""
        return self._gathers and self._flusher.ready()

    def gather(self, channel: PublisherChannel, prefix: bytes, first: Stamp) -> None:
        """Let messages of a publisher gather from now on; those of another one go out. The socket is busy."""
        self.make_way()
        channel.batch.begin(prefix, first)
        self.gatherer = channel
        if not self._flusher.active:
            self._flusher.begin()

    def make_way(self) -> None:
        """Send what waits, before something else. The socket is busy. A few that share a frame gain nothing."""
        if (gatherer := self.gatherer) is not None:
            few = len(gatherer.batch.messages) < FEW
            gatherer.send_batch()
            if few:
                gatherer.waited_in_vain()

    def interrupted(self) -> None:
        """Take notice of a signal: the flusher may not have been told that something waits."""
        if self.gatherer is not None:
            self._flusher.begin()

    def _waiting(self) -> object:
        """Return the messages that wait, the same object as long as they do; None if none do."""
        gatherer = self.gatherer
        return None if gatherer is None else gatherer.batch.messages

    def _flush(self, messages: object) -> None:
        """Send these messages, if they still wait. For the flusher's thread."""
        with self.lock, contextlib.suppress(zmq.ZMQError):  # closed meanwhile
            if (gatherer := self.gatherer) is not None and gatherer.batch.messages is messages:
                self.flush()
                gatherer.waited_in_vain()
                self.wake()

    def flush(self) -> None:
        """Send what waits. The caller holds the lock; the socket is not busy."""
        if self.gatherer is not None:
            self.busy = True
            try:
                self.gatherer.send_batch()
            finally:
                self.busy = False
                self.finish_leaving()

    def wake(self) -> None:
        """Make those who wait for news look for them, after something was sent."""
        if self.awaited:
            self.awaited = False
            for channel in self.channels:
                channel.wake()

    def leave(self, channel: PublisherChannel) -> None:
        """Take a publisher off, now or when the message is sent that a signal handler interrupted."""
        with self.lock:
            if self.busy:
                self.leaving.append(channel)
                return
            if self.gatherer is channel:
                with contextlib.suppress(zmq.ZMQError):
                    self.flush()
            self.channels.remove(channel)
            self.wake()
            self.closed = self.closed or not self.channels
        if self.closed:
            self._flusher.end()
            self.link.close()
            if self._sharing is not None:
                self._sharing.close()

    def reload(self, plan: Plan) -> None:
        """Go on with other keys and another list."""
        self.plan = plan
        self._runtime.supervisor.reload(self.link, plan)

    def finish_leaving(self) -> None:
        """Take off the publishers that a signal handler closed."""
        while self.leaving:
            self.leave(self.leaving.pop())

    def close(self) -> None:
        """Close every publisher of this address."""
        for channel in tuple(self.channels):
            channel.close()

    def look(self, now: int) -> None:
        """Take the news out of the socket, before a message is sent: who subscribes now gets it."""
        self.look_at = now + _LOOK_EVERY
        self.read_subscriptions()

    def read_subscriptions(self) -> None:
        """Take the news out of the socket, and tell those who wait for them. The caller holds the lock.

        What was published before goes out before: who subscribes now is told of it as of the past.
        """
        self.flush()
        stirred = any(channel.stalled for channel in self.channels) and self.stirred(0)
        if news := self._subscriptions.read():
            self.queue.uneven = True
            if self._sharing is not None:
                self._sharing.hear()  # somebody may be gone
        if news or stirred:
            for channel in self.channels:
                channel.look_again(news=news, stirred=stirred)

    def form(self, ask: Ask) -> bytes:
        """Return the form that who asks gets."""
        if ask.form != SHARED:
            return ask.form
        told = not any(channel.stalled for channel in self.channels)  # or else libzmq may drop the answer unseen
        served = told and self._sharing is not None and self._sharing.serve(ask.nonce, ask.prefix)
        return SHARED if served else WHOLE

    def answer(self, ask: Ask, form: bytes) -> None:
        """Tell who asks how its subscription begins."""
        shared = self._sharing is not None and form != METADATA and self._sharing.offered()
        hello = Hello(self._topics.epoch, form.decode(), machine(), self._topics.sequences(ask.prefix), shared)
        try:
            self.send(hello.answer(ask), LAST)
        except zmq.Again:  # no room in its queue: it counts from its first message on, and asks again for frames
            if form == SHARED and self._sharing is not None:
                self._sharing.mute(ask.nonce)

    def ended(self, ask: Ask) -> None:
        """Take notice that nobody asks so any more."""
        if ask.form == SHARED and self._sharing is not None:
            self._sharing.end(ask.nonce)

    # Shared memory. The caller holds the lock.

    def _open_sharing(self) -> Sharing | None:
        if sys.platform == "linux" and self.plan.shared is not None:
            from eis.msgbus.transports.zmq.shared.sharing import Sharing  # needs Linux

            return Sharing(self.plan, self._admits, self.afterwards.say, self._topics.through_zmq)
        return None

    def _admits(self, uid: int, gid: int, pid: int) -> bool:
        return self.link.door is None or self.link.door.admits(uid, gid, pid)

    def was_cut(self) -> None:
        """Share other memory from now on: who had a connection may have the one before."""
        if self._sharing is not None:
            self._sharing.renew()

    @property
    def unshared(self) -> int:
        """Return how many frames had no room in shared memory."""
        return 0 if self._sharing is None else self._sharing.full

    def share(self, name: bytes, blobs: Sequence[Any]) -> bytes:
        """Return the descriptor of blobs that lie in shared memory now; empty: they have to go through the socket."""
        return (self._sharing.share(name, blobs) if self._sharing is not None else None) or b""

    def notify(self, topic: Topic, descriptor: bytes, notice: bytes) -> bool:
        """Tell all that a topic's frames are shared with of one; False: it has to go through ZeroMQ."""
        assert self._sharing is not None
        noticed: bool = self._sharing.notify(topic.name, topic.shared_with, descriptor, notice)
        topic.noticed += noticed
        return noticed

    def lend(self, nbytes: int) -> Lent | None:
        """Lend memory that subscribers share; None if there is none."""
        return self._sharing.lend(nbytes) if self._sharing is not None else None

    def changed(self) -> bool:
        """Take the news of subscriptions out of the socket, so that they do not pile up there; False: it is in use.

        The supervisor does not wait for who publishes: that may wait for libzmq's I/O thread, and it for the supervisor
        to read what happens to connections.
        """
        if not self.lock.acquire(timeout=_PATIENCE):
            return False
        try:
            if self.channels and not self.link.socket.closed and not self.busy:  # no channel: it is still being opened
                self.look(time.monotonic_ns())
            for channel in self.channels:
                channel.refresh()
        finally:
            self.lock.release()
        self.afterwards.tell()
        return True
