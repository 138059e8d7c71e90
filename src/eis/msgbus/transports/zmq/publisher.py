"""Send to subscribers: one socket for all publishers of an address. Does not know what a message means."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import zmq

from eis.msgbus._channel import Closed, Counts, Wakeup, at_the_end, poller
from eis.msgbus._wire import Frames, encode_name
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.link import LAST, MORE, Link, backend_calls
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.queues import Queue
from eis.msgbus.transports.zmq.sizes import check_sizes
from eis.msgbus.transports.zmq.subscriptions import GrantedSubscriptions, Subscriptions

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.transport import Services

__all__ = ["PublisherSocket", "send_all"]

ZERO_COPY = 128 * 1024
"""Bytes from which on a frame is handed to libzmq without a copy; below, the copy costs less than the bookkeeping."""

# libzmq takes what subscribers send whenever a message is sent, and keeps it until it is read.
_DRAIN_EVERY = 64  # messages


class PublisherSocket:
    """Be the XPUB socket of one address, and count who subscribes to what."""

    def __init__(self, plan: Plan, services: Services) -> None:
        self.channels: list[PublisherChannel] = []
        self.closed = False
        self.lock = threading.RLock()
        self.busy = False  # a message is half sent; only a signal handler ever sees this
        self.leaving: list[PublisherChannel] = []  # closed by a signal handler, meanwhile
        self.plan = plan
        self._services = services
        self.link = Link(plan, services, self._changed, self.lock)
        self.send, recv = backend_calls(self.link.socket)
        self.grants = plan.topics
        if self.link.door is not None and self.grants:
            self._subscriptions: Subscriptions = GrantedSubscriptions(recv, self.link, self.link.door)
        else:
            self._subscriptions = Subscriptions(recv)
        self.queue = Queue(self.link.socket, plan.queue_bytes)
        self.stirred = poller((self.link.fd,))

    @property
    def special(self) -> bool:
        """Tell whether to look at something before each message.

        A broker may refuse us, access control may have failed, or it grants subscriptions.
        """
        return not self.link.plan.bind or bool(self.link.stopped) or self.grants

    def channel(self, topic: str) -> PublisherChannel:
        """Open one more publisher."""
        channel = PublisherChannel(self, topic)
        with self.lock:
            self.channels.append(channel)
        return channel

    def leave(self, channel: PublisherChannel) -> None:
        """Take a publisher off, now or when the message is sent that a signal handler interrupted."""
        with self.lock:
            if self.busy:
                self.leaving.append(channel)
                return
            self.channels.remove(channel)
            self.closed = self.closed or not self.channels
        if self.closed:
            self.link.close()

    def reload(self, plan: Plan) -> None:
        """Go on with other keys and another list."""
        self.plan = plan
        self._services.supervisor.reload(self.link, plan)

    def finish_leaving(self) -> None:
        """Take off the publishers that a signal handler closed."""
        while self.leaving:
            self.leave(self.leaving.pop())

    def close(self) -> None:
        """Close every publisher of this address."""
        for channel in tuple(self.channels):
            channel.close()

    def subscribers(self, name: bytes) -> int:
        """Return how many subscriptions messages with this name frame have."""
        self.read_subscriptions()
        return self._subscriptions.count(name)

    def read_subscriptions(self) -> None:
        """Take the news out of the socket, and tell those who wait for them. The caller holds the lock."""
        stirred, news = self.stirred(0), self._subscriptions.read()
        for channel in self.channels:
            channel.look_again(news=news, stirred=stirred)

    def _changed(self) -> None:
        """Take the news of subscriptions out of the socket, so that they do not pile up there."""
        with self.lock:
            if self.channels and not self.link.socket.closed and not self.busy:  # no channel: it is still being opened
                self.read_subscriptions()
            for channel in self.channels:
                channel.refresh()


class PublisherChannel:
    """Send to every subscriber of one topic."""

    def __init__(self, socket: PublisherSocket, topic: str) -> None:
        self.topic = topic
        self._socket = socket
        self._lock = socket.lock
        self._send = socket.send
        self.status = socket.link.status
        self._name = encode_name(topic)
        self._largest = socket.link.plan.largest
        self._small = min(ZERO_COPY, self._largest)  # bytes of the last part below which none is looked at
        self._wakeup = Wakeup()
        at_the_end(self, self._wakeup.close)  # not in `close`: whoever waits has to see that it is set
        self._filenos: tuple[int, ...] = ()
        self._sent = self._dropped = 0
        self._stalled = False  # some subscriber's queue is full, and libzmq leaves it out until it has been read
        self._closed = False
        self._special = socket.special  # or: stalled, or closed

    def send(self, frames: Frames) -> None:  # noqa: PLR0912, PLR0915  # in one piece: a call costs as much as a frame
        """Queue a message for every subscriber whose queue has room; count it as dropped if one's has not.

        Raises:
            InvalidMessage: a part is larger than subscribers take.
        """
        with self._lock:
            socket = self._socket
            if self._special or socket.busy:
                self._look_at_specials()
            small = len(frames) == 4 and len(frames[3]) < self._small
            if not small and (size := check_sizes(frames, self._largest)) > socket.queue.largest:
                socket.queue.notice(size, socket.link.plan.address)
            socket.busy = True
            try:
                self._sent += 1
                if small:
                    name, kind, count, part = frames
                    send = self._send
                    send(name, MORE)
                    send(kind, MORE)
                    send(count, MORE)
                    send(part, LAST)
                else:
                    send_all(self._send, frames)
                if not self._sent % _DRAIN_EVERY:
                    socket.read_subscriptions()
            except zmq.Again:  # from the first frame only: a message goes as a whole
                self._send_despite_full_queues(frames)
            except BaseException:  # a signal handler's, such as KeyboardInterrupt
                self._end_what_was_begun()
                raise
            finally:
                socket.busy = False
                if socket.leaving:
                    socket.finish_leaving()

    def _look_at_specials(self) -> None:
        """Look at what is rare before a message is sent."""
        self._check_usable()
        if self._stalled:
            self._count_stalled()
        if self._socket.grants:  # a subscription takes effect when it was read
            self._socket.read_subscriptions()

    def _check_usable(self) -> None:
        if self._closed:
            raise Closed("closed")
        if self._socket.busy:
            raise MessageBusError("in use: a signal handler cannot use what the signal interrupted")
        self._socket.link.raise_fault()

    def _end_what_was_begun(self) -> None:
        """End a message in the middle; its receivers refuse it."""
        with contextlib.suppress(zmq.ZMQError):
            self._send(b"", LAST)

    def _send_despite_full_queues(self, frames: Frames) -> None:
        try:
            self._send_past_full_queues(frames)
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            self._end_what_was_begun()
            raise

    def _send_past_full_queues(self, frames: Frames) -> None:
        """Look whether the queues have been read meanwhile, or can be longer; if not, leave their subscribers out."""
        self._socket.link.socket.get(zmq.EVENTS)  # makes libzmq take what the receivers report
        queue = self._socket.queue
        queue.renew()
        if self._finds_room(frames) or (queue.grow(sum(map(len, frames))) and self._finds_room(frames)):
            return
        self._stalled = self._special = True
        self._dropped += 1
        try:
            self._socket.link.socket.set(zmq.XPUB_NODROP, 0)
            send_all(self._send, frames)
        finally:
            self._socket.link.socket.set(zmq.XPUB_NODROP, 1)

    def _finds_room(self, frames: Frames) -> bool:
        try:
            send_all(self._send, frames)
        except zmq.Again:
            return False
        return True

    def _count_stalled(self) -> None:
        """Count what a subscriber misses whom libzmq leaves out: everything until its side reports that it has read."""
        if self._socket.stirred(0):
            self._socket.link.socket.get(zmq.EVENTS)  # take it now: libzmq by itself looks once a millisecond
            self.look_again()
        else:
            self._dropped += 1

    def receive(self) -> Sequence[Frames]:
        """Refuse: a publisher only sends."""
        raise MessageBusError("a publisher cannot receive")

    def subscribers(self) -> int:
        """Return how many subscriptions the topic has now."""
        self._wakeup.clear()
        with self._lock:
            self._check_usable()
            return self._socket.subscribers(self._name)

    def look_again(self, *, news: bool = False, stirred: bool = True) -> None:
        """Take notice of news from subscribers, and that the socket's descriptor had stirred."""
        if stirred:
            self._stalled = False
            self._special = self._closed or self._socket.special
        if news:
            self._wakeup.set()

    def refresh(self) -> None:
        """Take notice of a change of the link, and make a wait return."""
        self._special = self._closed or self._stalled or self._socket.special
        self._wakeup.set()

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors to wait for: the socket's own, doubled, since one asyncio task may watch it only."""
        if not self._filenos:
            self._filenos = (self._own_descriptor(), self._wakeup.fileno())
        return self._filenos

    def _own_descriptor(self) -> int:
        if sys.platform == "win32":
            return self._socket.link.fd
        doubled = os.dup(self._socket.link.fd)
        at_the_end(self, functools.partial(os.close, doubled))
        return doubled

    def wake(self) -> None:
        """Make a wait return."""
        self._wakeup.set()

    def counts(self) -> Counts:
        """Return what was counted so far; refusals and reconnects are those of the socket."""
        link = self._socket.link
        return Counts(
            sent=self._sent,
            dropped=self._dropped,
            refused=link.refused,
            reconnects=link.reconnects,
            clients=link.clients,
        )

    def close(self) -> None:
        """Leave the socket; the last one closes it."""
        if not self._closed:
            self._closed = self._special = True
            self._wakeup.set()
            self._socket.leave(self)


def send_all(send: Callable[..., Any], frames: Frames) -> None:
    """Send the frames of one message."""
    last = len(frames) - 1
    for index, frame in enumerate(frames):
        flags = LAST if index == last else MORE
        if len(frame) < ZERO_COPY:
            send(frame, flags)
        else:
            send(frame, flags, copy=False)
