"""Publish one topic: a message in each form that somebody wants. Does not know what a message means."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

import zmq

from eis.msgbus._channel import Closed, Counts, Wakeup, at_the_end
from eis.msgbus._wire import Frames, encode_name
from eis.msgbus._wire.frames import JSON
from eis.msgbus._wire.native import METADATA, PLAIN, SHARED, pack_stamp
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.loan import Lent
from eis.msgbus.transports.zmq.batch import ENOUGH, LARGEST, Batch, Hurry
from eis.msgbus.transports.zmq.calls import LAST, MORE
from eis.msgbus.transports.zmq.sending import ZERO_COPY, send_all
from eis.msgbus.transports.zmq.sizes import check_sizes

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.publisher import PublisherSocket

__all__ = ["PublisherChannel"]


class PublisherChannel:
    """Send to every subscriber of one topic."""

    def __init__(self, socket: PublisherSocket, topic: str) -> None:
        self.topic = topic
        self._socket = socket
        self._lock = socket.lock
        self._send = socket.send
        self.status = socket.link.status
        self._topic = socket.topic(encode_name(topic))
        self._largest = socket.link.plan.largest
        self._small = min(ZERO_COPY, self._largest)  # bytes of the last part below which none is looked at
        self._wakeup = Wakeup()
        at_the_end(self, self._wakeup.close)  # not in `close`: whoever waits has to see that it is set
        self._filenos: tuple[int, ...] = ()
        self._sent = self._dropped = 0
        self.batch = Batch()
        self._hurry = Hurry()
        self._hurries = False  # messages gather
        self.stalled = False  # some subscriber's queue is full, and libzmq leaves it out until it has been read
        self._closed = False
        self._special = socket.special  # or: stalled, or closed

    def send(self, frames: Frames) -> None:  # noqa: C901, PLR0912, PLR0915  # in one piece: calls cost
        """Queue a message for every subscriber whose queue has room; count it as dropped if one's has not.

        Raises:
            InvalidMessage: a part is larger than subscribers take.
        """
        with self._lock:
            socket, topic = self._socket, self._topic
            if self._special or socket.busy:
                self._look_at_specials()
            if (now := monotonic_ns()) >= socket.look_at:
                self._look(now)
            small = len(frames) == 4 and len(frames[3]) < self._small
            if not small and (size := check_sizes(frames, self._largest)) > socket.queue.largest:
                socket.queue.notice(size, socket.link.plan.address)
            socket.busy = True
            try:
                self._sent += 1
                topic.sequence += 1
                if self._hurries and small and len(frames[3]) <= LARGEST and topic.only and frames[1] == JSON:
                    if socket.gatherer is not self:
                        realtime = time_ns() - monotonic_ns() + now
                        socket.gather(self, topic.only, (topic.sequence, realtime, now, 0, 0, 0, topic.told))
                    messages = self.batch.messages
                    messages.append((now, frames[3]))
                    if len(messages) >= ENOUGH:  # more, if a signal came in between
                        self.send_batch()
                else:
                    if socket.gatherer is not None:
                        socket.make_way()
                    if small and topic.only is not None and frames[1] == JSON:
                        stamp = pack_stamp(topic.sequence, time_ns(), now, 0, 0, 0, topic.told)
                        frames = (topic.only + stamp + frames[3],)
                        self._send(frames[0], LAST)
                    elif small and topic.plain_only:
                        name, kind, count, part = frames
                        send = self._send
                        send(name, MORE)
                        send(kind, MORE)
                        send(count, MORE)
                        send(part, LAST)
                    else:
                        self._send_forms(frames, (topic.sequence, time_ns(), now))
            except zmq.Again:  # from the first frame only: a message goes as a whole
                self._send_past_full_queues(frames)
            except BaseException:  # a signal handler's, such as KeyboardInterrupt
                self._end_what_was_begun()
                socket.interrupted()
                raise
            finally:
                socket.busy = False
                if socket.leaving:
                    socket.finish_leaving()
                if socket.awaited:
                    socket.wake()
        if socket.afterwards.said:
            socket.afterwards.tell()

    def _look(self, now: int) -> None:
        """Look at what is to be looked at now and then."""
        self._socket.look(now)
        self._hurry.look(now, self._topic.sequence)
        self._hurries = self._hurry.on and not self.stalled and self._socket.may_gather()

    def waited_in_vain(self) -> None:
        """Take notice that messages waited for others that did not come."""
        self._hurry.waited_in_vain(monotonic_ns())
        self._hurries = self._hurry.on

    def send_batch(self) -> None:
        """Send the messages that were gathered. The caller holds the lock, and has said that the socket is busy.

        Until they are sent they wait: Python looks for signals after calls, and there is none in between.
        """
        batch, count = self.batch, len(self.batch.messages)
        frames = (batch.frame(),) if count else ()
        self._socket.gatherer, batch.messages = None, []
        if not frames:  # a signal came before the first one
            return
        try:
            self._send(frames[0], LAST)
        except zmq.Again:
            self._send_past_full_queues(frames, count)

    def _send_forms(self, frames: Frames, stamp: tuple[int, int, int]) -> None:
        """Send a message in each form that is wanted; whoever misses it, it counts as dropped once."""
        dropped = self._dropped
        for message in self._in_forms(frames, stamp):
            try:
                send_all(self._send, message)
            except zmq.Again:
                self._send_past_full_queues(message)
        self._dropped = min(self._dropped, dropped + 1)

    def _in_forms(self, frames: Frames, stamp: tuple[int, int, int]) -> Iterator[Frames]:
        metadata, blobs = (frames[3], frames[4:]) if frames[1] == JSON else (b"", frames[3:])
        for form in self._topic.forms:
            if form == PLAIN:
                yield frames
                continue
            descriptor = self._socket.share(self._topic.name, blobs) if form == SHARED and blobs else b""
            head = self._topic.prefixes[form] + pack_stamp(*stamp, len(blobs), len(descriptor), 0, self._topic.told)
            header = b"".join((head, descriptor, metadata))
            if descriptor and self._socket.notify(self._topic, descriptor, header):
                continue
            yield (header,) if form == METADATA or descriptor else (header, *blobs)

    def _look_at_specials(self) -> None:
        """Look at what is rare before a message is sent."""
        self._check_usable()
        self._hurries = False
        if self.stalled:
            self._count_stalled()

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

    def _send_past_full_queues(self, frames: Frames, messages: int = 1) -> None:
        """Look whether the queues have been read meanwhile, or can be longer; if not, leave their subscribers out.

        They miss so many `messages` then.
        """
        try:
            if self._makes_room(frames):
                return
            self.stalled = self._special = True
            self._dropped += messages
            try:
                self._socket.link.socket.set(zmq.XPUB_NODROP, 0)
                send_all(self._send, frames)
            finally:
                self._socket.link.socket.set(zmq.XPUB_NODROP, 1)
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            self._end_what_was_begun()
            raise

    def _makes_room(self, frames: Frames) -> bool:
        """Make the queues longer where they may be; that costs some 30 microseconds, and is seldom."""
        queue = self._socket.queue
        if int(self._socket.link.socket.get(zmq.EVENTS)) & zmq.POLLIN:  # makes libzmq take what the receivers report
            queue.uneven = True
        queue.lengthen(sum(map(len, frames)))
        self._socket.link.socket.get(zmq.EVENTS)  # what they reported meanwhile
        return self._finds_room(frames)

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
            self._socket.read_subscriptions()
            self._socket.awaited = True  # if they are too few
            count = self._topic.subscribers
        self._socket.afterwards.tell()
        return count

    def lend(self, nbytes: int) -> Lent | None:
        """Lend memory that subscribers share."""
        with self._lock:
            self._check_usable()
            self._socket.busy = True  # a signal handler that publishes would be given the same memory
            try:
                return self._socket.lend(nbytes)
            finally:
                self._socket.busy = False
                self._socket.finish_leaving()

    def look_again(self, *, news: bool = False, stirred: bool = True) -> None:
        """Take notice of news from subscribers, and that the socket's descriptor had stirred."""
        if stirred:
            self.stalled = False
            self._special = self._closed or self._socket.special
        if news:
            self._wakeup.set()

    def refresh(self) -> None:
        """Take notice of a change of the link, and make a wait return."""
        self._special = self._closed or self.stalled or self._socket.special
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
            unshared=self._socket.unshared,
        )

    def close(self) -> None:
        """Leave the socket; the last one closes it."""
        if not self._closed:
            self._closed = self._special = True
            self._wakeup.set()
            self._socket.leave(self)
