"""Receive from publishers. Does not know what a message means."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq

from eis.msgbus._channel import Counts
from eis.msgbus._waiting import poller
from eis.msgbus._wire import Frames, Stamped
from eis.msgbus._wire.native import METADATA, NONCE_BYTES, SHARED, WHOLE, Ask, Hello, form_filter
from eis.msgbus.exceptions import InvalidMessage, MessageBusError
from eis.msgbus.transports.zmq.batch import ENOUGH, LARGEST
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.queues import ReceiveQueue
from eis.msgbus.transports.zmq.reader import MessageReader
from eis.msgbus.transports.zmq.sizes import check_sizes
from eis.msgbus.transports.zmq.using import LinkChannel, alone

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.runtime import Runtime

    if sys.platform == "linux":
        from eis.msgbus.transports.zmq.shared.frames import SharedFrames
        from eis.msgbus.transports.zmq.shared.lease import Lease
    else:
        SharedFrames = Any
        Lease = Any

__all__ = ["SubscriberChannel"]

_MOST_BATCHES = 10_000  # of one message at least; the longest queue has fewer
_PATIENCE = 32  # messages that may come before the answer to a question


class SubscriberChannel(LinkChannel):
    """Receive every message whose topic begins with `topic`; with `metadata_only`, without blobs if that can be.

    It subscribes to the plain form, and asks for a native one. A publisher that does not know what that means sends
    plain messages; one that knows takes the plain subscription back, and answers. If shared memory is handed out there,
    it is fetched, and asked for. The same happens after every reconnect.
    """

    def __init__(self, plan: Plan, runtime: Runtime, topic: str, *, metadata_only: bool = False) -> None:
        check_sizes([topic.encode()], plan.largest)
        self._dry = False  # the last look found nothing, and there is nothing until the descriptor stirs
        self._queue = ReceiveQueue(plan.queue_bytes, plan.queue)
        self._topic = topic.encode()
        self._forms: set[bytes] = set()  # that libzmq lets through to us
        self._noticeable = form_filter(SHARED, self._topic)
        self._fetches = False  # there is shared memory, and we have it not
        self._asking = False  # for it: the answer is still to come
        self._asked_at = 0  # when so many messages were read
        self._unseen = 0  # answers at most that libzmq left out, as nobody asks any more
        self._memory: SharedFrames | None = _shared_frames(plan, metadata_only=metadata_only)
        super().__init__(plan, runtime)
        self._poll = poller((self.link.fd,))
        with self.lock:
            self.link.socket.set(zmq.SUBSCRIBE, self._topic)
            if plan.native:
                self._ask_for(METADATA if metadata_only else WHOLE, os.urandom(NONCE_BYTES))

    def _open(self, after: Link | None) -> None:
        super()._open(after)
        if self._memory is not None:
            self._filenos += (self._memory.fileno(),)
        self._reader = MessageReader(
            self._recv,
            self._more,
            has_news=self._has_news,
            greeted=self._greeted,
            lease=self._lease,
            waits=self._waits,
        )

    def _ask_for(self, form: bytes, nonce: bytes) -> None:
        """Ask for a form, instead of the one that was asked for before."""
        if form not in self._forms:  # first: a signal handler's exception may come, and then it is asked for again
            self.link.socket.set(zmq.SUBSCRIBE, form_filter(form, self._topic))
            self._forms.add(form)
        before, self._reader.ask = self._reader.ask, Ask(nonce, form, self._topic)
        self.link.socket.set(zmq.SUBSCRIBE, self._reader.ask.subscription)
        if before is not None:
            self.link.socket.set(zmq.UNSUBSCRIBE, before.subscription)
            self._reader.outdated.append(before.subscription)
            self._unseen += 1

    def _greeted(self, hello: Hello) -> None:
        """Fetch shared memory, if there is some that we do not have; take notices of frames, if we have it."""
        self._asking = False
        if self._memory is not None:
            if hello.form == SHARED.decode():
                self._memory.begin()
            elif not hello.shared:
                self._memory.close()
        self._fetches = hello.shared and hello.form != SHARED.decode() and self._memory is not None
        if self._fetches:
            self._fetch()

    def _fetch(self) -> None:
        if self._memory is not None and (nonce := self._memory.fetch()) is not None:
            self._fetches = False  # until the answer says that nobody handed it out
            self._asking, self._asked_at = True, self._read_so_far()
            self._ask_for(SHARED, nonce)

    def _lease(self, descriptor: bytes, noticed: bool) -> Lease | None:
        if self._memory is None:
            raise InvalidMessage("expected no shared memory, which was not asked for")
        lease = self._memory.lease(descriptor, noticed=noticed)
        slots = self._memory.slots
        if 0 < self._queue.messages < slots and self._queue.lengthen(self.link.socket, self._read_so_far(), slots):
            self.changed()
        if lease is None and not self._memory.connected:
            self._fetches = True
        return lease

    def send(self, frames: Frames) -> None:  # noqa: ARG002  # the contract's
        """Refuse: a subscriber only receives."""
        raise MessageBusError("a subscriber cannot send")

    @alone
    def receive(self) -> Sequence[Frames | Stamped]:
        """Return the messages that have arrived: small ones up to a batch, the first with blobs as the last."""
        noticed = self._noticed()
        if self._fetches:
            self._fetch()
        if not noticed and self._stirred():
            self._read()
        reader = self._reader
        if not reader.batch:
            self.link.raise_fault()
            if not self._dry:  # all was lost, and there is more
                self._wakeup.set()
            elif self._memory is not None and self._memory.unanswered():
                self._fetch()
        elif not self._queue.messages:
            self._fit_queue()
            self.changed()  # it may have made the descriptor quiet
        batch, reader.batch = reader.batch, []
        self._received += len(batch)
        return batch

    def counts(self) -> Counts:
        """Return what was counted so far."""
        reader, streams = self._reader, self._reader.streams
        return dataclasses.replace(
            super().counts(),
            lost=streams.lost,
            restarts=streams.restarts,
            latencies=tuple(streams.latencies),
            form=reader.form,
        )

    def _fit_queue(self) -> None:
        """Give the queue its length, by the first messages; or by those that come when shared memory does."""
        if self._asking and self._reader.form != "shared" and self._read_so_far() - self._asked_at < _PATIENCE:
            return
        self._asking = False
        size, slots = max(map(_bytes, self._reader.batch)), 0 if self._memory is None else self._memory.slots
        self._queue.fit(self.link.socket, size, self._read_so_far(), slots, unseen=self._dropped + self._unseen)

    def _read_so_far(self) -> int:
        """Return how many messages were read, as libzmq counts them."""
        return self._received + len(self._reader.batch) + self._reader.aside

    def _noticed(self) -> bool:
        """Take the next message that came beside the socket, or the one that was held behind those; False: none has.

        What waits there was published before all that waits in the socket.
        """
        if (memory := self._memory) is None or not (memory.begun or self._reader.held is not None):
            return False
        try:
            if (notice := self._next_notice(memory)) is not None:
                self._reader.take_notice(notice)
                return True
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            self._dropped += 1
            raise
        self._fetches = self._fetches or not memory.connected
        return self._taken_held()

    def _next_notice(self, memory: SharedFrames) -> bytes | None:
        """Return the next notice, of our topics; or what is none, to be refused."""
        try:
            notice: bytes | None = memory.notice()
        except InvalidMessage:
            return b""
        return notice if notice is None or notice.startswith(self._noticeable) else notice[:1]

    def _taken_held(self) -> bool:
        try:
            return self._reader.take_held()
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            self._skip_rest()
            raise

    def _waits(self) -> bool:
        return self._memory is not None and self._memory.waits()

    def settle(self) -> bool:
        """Look at the first message for the program, which may never do: until then the queue is too long for frames.

        Return whether it has come.
        """
        with self.lock:
            if self.closed or self._queue.messages:
                return True
            with contextlib.suppress(zmq.ZMQError):  # its context is closed
                any(self._found() for _ in range(_MOST_BATCHES))
            if self._reader.batch:
                self._fit_queue()
            if self._reader.batch or not self._dry:
                self.changed()
            return self._queue.messages > 0

    def _found(self) -> bool:
        """Look for a message; tell whether it has come, or nothing is there."""
        if not self._noticed():
            self._read()
        return bool(self._reader.batch) or self._dry

    def drain(self) -> None:
        """Take all that has come, before the socket gives its address up. Called with the lock.

        libzmq, when asked for events, takes the first frame of a message out of a SUB's connection. If that is given up
        before the others were read, the next read ends the process (`!_more` in fq.cpp).
        """
        any(not self._noticed() for _ in range(_MOST_BATCHES))
        self._reader.take_held()
        any(self._reader.read(idle=False, holds=False) for _ in range(_MOST_BATCHES))
        self.changed()

    def progress(self) -> int | None:
        """Return how many messages were taken; None while some wait."""
        with self.lock:  # until it is open
            return None if self._reader.batch or self._waits() else super().progress()

    def _stirred(self) -> bool:
        """Tell whether to look. Clear first: what comes to be known after that sets the wake-up again."""
        if self._dry:
            self._wakeup.clear()
        return not self._dry or self._poll(0)

    def _read(self) -> None:
        idle, self._dry = self._dry, False
        try:
            self._dry = self._reader.read(idle=idle)
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            self._skip_rest()
            raise

    def changed(self) -> bool:
        """Make a wait return, and look again."""
        self._dry = False
        return super().changed()

    def close(self) -> None:
        """Close the link, and let go of shared memory; what the program still has of it stays."""
        super().close()
        with self.lock:
            if self.closed and not self.busy and self._memory is not None:
                self._memory.close()


def _shared_frames(plan: Plan, *, metadata_only: bool) -> SharedFrames | None:
    if sys.platform == "linux" and plan.shared is not None and plan.file is not None and not metadata_only:
        from eis.msgbus.transports.zmq.shared.frames import SharedFrames  # needs Linux

        with contextlib.suppress(OSError):  # no descriptors are left
            return SharedFrames(plan.file, int(dict(plan.options)[zmq.MAXMSGSIZE]))
    return None


def _bytes(message: Any) -> int:
    """Return how long a message is in the queue, where a small one may come with others in one frame."""
    if isinstance(message, Stamped):
        small = not message.blobs and len(message.metadata) <= LARGEST
        return len(message.metadata) * ENOUGH if small else len(message.metadata) + sum(map(len, message.blobs))
    return sum(map(len, message))
