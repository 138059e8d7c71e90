"""Receive from publishers: the hot path. Does not know what a message means."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq

from eis.msgbus._channel import poller
from eis.msgbus._wire import Frames
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.link import LAST
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.queues import fitting
from eis.msgbus.transports.zmq.reading import is_whole, read_message, read_rest, split_short
from eis.msgbus.transports.zmq.sizes import check_sizes
from eis.msgbus.transports.zmq.using import LinkChannel, alone

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.transport import Services

__all__ = ["SubscriberChannel"]

_BATCH = 32  # small messages taken in one go; a message with blobs ends its batch
_JSON, _ONE = b"\0", b"\1"


class SubscriberChannel(LinkChannel):
    """Receive every message whose topic begins with `topic`."""

    def __init__(self, plan: Plan, services: Services, topic: str) -> None:
        check_sizes([topic.encode()], plan.largest)
        self._dry = False  # the last look found nothing, and there is nothing until the descriptor stirs
        self._strict = False  # a peer broke the rules: look at the flag of every frame from now on
        self._batch: list[list[Any]] = []
        self._fits = False  # the queue has its length
        super().__init__(plan, services)
        self._poll = poller((self.link.fd,))
        with self.lock:
            self.link.socket.set(zmq.SUBSCRIBE, topic.encode())

    def send(self, frames: Frames) -> None:  # noqa: ARG002  # the contract's
        """Refuse: a subscriber only receives."""
        raise MessageBusError("a subscriber cannot send")

    @alone
    def receive(self) -> Sequence[Frames]:
        """Return the messages that have arrived: small ones up to a batch, the first with blobs as the last."""
        if self._stirred():
            self._read()
        if not self._batch:
            self.link.raise_fault()
        elif not self._fits:
            self._fit_queue()
        batch, self._batch = self._batch, []
        self._received += len(batch)
        return batch

    def _fit_queue(self) -> None:
        """Give the queue its length, by the first messages."""
        size = max(sum(map(len, frames)) for frames in self._batch)
        length = fitting(size, self.plan.queue_bytes, len(self._batch))
        if self.plan.queue == 0 or length < self.plan.queue:
            self.link.socket.set(zmq.RCVHWM, length)
        self._fits = True

    def _settle(self) -> bool:
        """Look at the first message for the program, which may never do: until then the queue is too long for frames.

        For the supervisor's thread; returns whether it has come.
        """
        with self.lock:
            if self.closed or self._fits:
                return True
            with contextlib.suppress(zmq.ZMQError):  # its context is closed
                self._read()
            if self._batch:
                self._fit_queue()
                self._changed()
            return self._fits

    def _progress(self) -> int | None:
        return None if self._batch else super()._progress()

    def _stirred(self) -> bool:
        """Tell whether to look. Clear first: what comes to be known after that sets the wake-up again."""
        if self._dry:
            self._wakeup.clear()
        return not self._dry or self._poll(0)

    def _read(self) -> None:
        try:
            if self._strict:
                self._read_strictly()
            else:
                self._read_fast()
        except zmq.Again:
            self._dry = True
        except BaseException:  # a signal handler's, such as KeyboardInterrupt
            self._skip_rest()
            raise

    def _read_fast(self) -> None:
        """Read with one look at the flag for each message.

        A message has at least four frames, so four are read without a look in between. A peer that breaks the rules
        may send fewer; then the four are not whole, and are told apart afterwards.
        """
        recv, more, batch, idle = self._recv, self._more, self._batch, self._dry
        self._dry = False
        name = None
        try:
            while len(batch) < _BATCH:
                name = None
                name = recv(LAST)
                kind = recv(LAST)
                count = recv(LAST)
                if kind != _JSON:
                    self._take_unusual([name, kind, count], blob=True)
                    return
                frames = [name, kind, count, recv(LAST)]
                if more() or count != _ONE:
                    self._take_unusual(frames, blob=False)
                    return
                batch.append(frames)
                if idle and not self._has_news():
                    self._dry = True
                    return
        except zmq.Again:
            if name is not None:  # fewer frames than a message has
                self._strict = True
                batch.append([name])
            raise

    def _take_unusual(self, frames: list[Any], *, blob: bool) -> None:
        """Take a message with blobs, which are not copied, or one that breaks the rules."""
        if blob or self._more():
            read_rest(self._recv, frames)
        if is_whole(frames):
            self._batch.append(frames)
        else:
            self._strict = True
            self._batch += split_short(frames)

    def _read_strictly(self) -> None:
        self._dry = False
        while len(self._batch) < _BATCH:
            frames = read_message(self._recv, self._more)
            self._batch.append(frames)
            if len(frames) > 4:
                return

    def _changed(self) -> None:
        self._dry = False
        super()._changed()
