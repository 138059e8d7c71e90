"""Messages out of a subscriber's socket, plain and native: the hot path. Does not know what a message means."""

from __future__ import annotations

import os
import struct
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from eis.msgbus._wire import Stamped
from eis.msgbus._wire.frames import JSON, ONE
from eis.msgbus._wire.native import (
    MARK,
    METADATA,
    SHARED,
    STAMP_BYTES,
    WHOLE,
    Ask,
    Hello,
    Stamp,
    is_ask,
    read_batch,
    read_hello,
    unpack_stamp,
)
from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.calls import LAST
from eis.msgbus.transports.zmq.reading import More, Recv, is_whole, read_message, read_rest, split_short
from eis.msgbus.transports.zmq.streams import Stream, Streams

if TYPE_CHECKING:
    if sys.platform == "linux":
        from eis.msgbus.transports.zmq.shared.lease import Lease
    else:
        Lease = Any

__all__ = ["MessageReader"]

_BATCH = 32  # small messages taken in one go; a message with blobs ends its batch
_OUTDATED = 16  # questions; one is asked a second, and answers take less
_FORMS = {WHOLE: "whole", METADATA: "metadata", SHARED: "shared"}
_NONE = Stream("", 0, prefix=os.urandom(16))  # no message begins so
Waits = Callable[[], bool] | None  # None: nothing is held
_NO_BLOBS: tuple[Any, ...] = ()


class MessageReader:
    """Read messages into `batch`, oldest first. With `aside` added they are as many as libzmq counts.

    That counts answers too, and what was lost, and takes several in one frame as one.

    What breaks the rules is in the batch as the frames that came. `ask` is the question that the answers are to, and
    `greeted` is called with each; `lease` returns the blobs of a descriptor, or None if they are lost; it is told
    whether that came in a notice.

    Notices come beside the socket. If one `waits` when a message comes, that was published later: it is `held`, with
    its first frame read. It can only be the first of a reading: who has something to read there is told of no frames.
    """

    def __init__(
        self,
        recv: Recv,
        more: More,
        *,
        has_news: Callable[[], bool],
        greeted: Callable[[Hello], None],
        lease: Callable[[bytes, bool], Lease | None],
        waits: Callable[[], bool],
    ) -> None:
        self.batch: list[list[Any] | Stamped] = []
        self.aside = 0
        self.streams = Streams()
        self.form = ""  # of the last message; empty: none has come
        self._recv, self._more, self._has_news = recv, more, has_news
        self._greeted, self._lease, self._waits = greeted, lease, waits
        self.held: bytes | None = None
        self.ask: Ask | None = None
        self.outdated: deque[bytes] = deque(maxlen=_OUTDATED)  # questions before, whose answers may still come
        self._stream = _NONE  # of the last message, if that was native
        self._strict = False  # a peer broke the rules: look at the flag of every frame from now on

    def read(self, *, idle: bool, holds: bool = True) -> bool:
        """Read what has come, up to a batch; tell whether that was all. `idle`: there may be one message only.

        Not all of what was read is in the batch: what is lost is not. Nothing is read while a message is held.
        """
        if self.held is not None:
            return False
        waits = self._waits if holds else None
        try:
            return self._read_strictly(waits) if self._strict else self._read_fast(waits, idle=idle)
        except zmq.Again:
            return True

    def _read_fast(self, waits: Waits, *, idle: bool) -> bool:  # noqa: C901, PLR0912, PLR0915  # in one piece: calls cost
        """Read with one call for each native message, and one look at the flag for each plain one.

        A plain message has at least four frames, so four are read without a look in between. A peer that breaks the
        rules may send fewer; then the four are not whole, and are told apart afterwards.
        """
        recv, batch, streams, stream = self._recv, self.batch, self.streams, self._stream
        clock, sent, note = streams.clock, streams.sent, streams.latencies.append
        name: bytes | None = None
        kind = count = b""
        try:
            for _ in range(_BATCH):
                name = None
                name = recv(LAST)
                if waits is not None and waits():
                    self.held = name
                    return False
                waits = None
                if name.startswith(stream.prefix) and (stamp := unpack_stamp(name, stream.length))[3] == 0:
                    if stamp[0] < stream.due and stream.form == SHARED:  # it was counted as lost
                        self.aside += 1
                    elif stamp[5]:
                        self._take_several(stream, stamp, name)
                    else:
                        if stamp[0] == stream.due:
                            stream.due += 1
                        else:
                            streams.jump(stream, stamp[0])
                        latency = clock() - stamp[sent]
                        note(latency)
                        data = name[stream.length + STAMP_BYTES :]
                        batch.append(Stamped(stream.name, data, _NO_BLOBS, stamp, latency))
                elif name[:1] == MARK or streams.met:
                    if self._take_rest(name):
                        return False
                    stream, clock, sent = self._stream, streams.clock, streams.sent
                else:
                    kind = count = b""
                    kind = recv(LAST)
                    count = recv(LAST)
                    if kind != JSON or (count != ONE and not self._more()):
                        self._take_unusual([name, kind, count])
                        return False
                    frames = [name, kind, count, recv(LAST)]
                    if self._more() or count != ONE:
                        self._take_unusual(frames)
                        return False
                    self.form = "plain"
                    batch.append(frames)
                if idle and not self._has_news():
                    return True
        except struct.error:  # a native message that ends in its header, or a batch that is none
            self._take_rest(name or b"")
        except zmq.Again:
            if name is not None:  # fewer frames than a message has
                self._sort_out([name, *(frame for frame in (kind, count) if frame)])
            raise
        return False

    def _take_unusual(self, frames: list[Any]) -> None:
        """Take a message with blobs, which are not copied, or one that breaks the rules."""
        if self._more():
            read_rest(self._recv, frames)
        self.form = "plain"
        if is_whole(frames):
            self.batch.append(frames)
        else:
            self._sort_out(frames)

    def _sort_out(self, frames: list[Any]) -> None:
        """Take what was read of a message that is too short, and of those behind it; read by the flags from now on."""
        self._strict = True
        for message in split_short(frames):
            if message[0][:1] == MARK:
                self._take_native(message)
            else:
                self.batch.append(message)

    def _read_strictly(self, waits: Waits) -> bool:
        for _ in range(_BATCH):
            first = self._recv(LAST)
            if waits is not None and waits():
                self.held = first
                return False
            waits = None
            if self._take_rest(first):
                return False
        return False

    def _take_rest(self, first: bytes) -> bool:
        """Take a message of which the first frame was read, by the flag of each; tell whether it ends the batch."""
        if first[:1] != MARK:
            frames = read_message(self._recv, self._more, first)
            self.form, self._stream = "plain", _NONE
            self.batch.append(frames)
            return len(frames) > 4
        frames = [first]
        if self._more():
            read_rest(self._recv, frames)
        if is_ask(first) and self.ask is not None and (hello := read_hello(first, self.ask)) is not None:
            self.aside += 1
            self.streams.greeted(hello)
            self._greeted(hello)
            return True  # from here on there may be notices
        if is_ask(first) and first.startswith(tuple(self.outdated)):
            self.aside += 1
            return False
        return self._take_native(frames)

    def take_held(self) -> bool:
        """Take the message that was held, after the notices; tell whether there was one."""
        first, self.held = self.held, None
        if first is not None:
            self._take_rest(first)
        return first is not None

    def take_notice(self, notice: bytes) -> None:
        """Take a message that came beside the socket."""
        self.aside -= 1
        self._take_native([notice], noticed=True)

    def _take_native(self, frames: list[Any], *, noticed: bool = False) -> bool:
        """Take a native message, or the first frame of what only looks like one; tell whether it ends the batch."""
        first = frames[0]
        stream = self._stream if first.startswith(self._stream.prefix) else self.streams.find(first)
        if stream is None or stream.length + STAMP_BYTES > len(first):
            self.batch.append([first])
            return False
        stamp = unpack_stamp(first, stream.length)
        if stamp[0] < stream.due and stream.form == SHARED:  # it came the other way too, or was counted as lost
            self.aside += 1
            return False
        if stamp[5]:
            return self._take_batch(stream, stamp, frames)
        return self._take_one(stream, stamp, frames, noticed=noticed)

    def _take_one(self, stream: Stream, stamp: Stamp, frames: list[Any], *, noticed: bool) -> bool:
        """Take a message alone in its frames; tell whether it has blobs."""
        first, blobs = frames[0], frames[1:]
        start = stream.length + STAMP_BYTES
        lease = None
        if size := stamp[4]:
            try:
                lease = self._lease(first[start : start + size], noticed)
            except InvalidMessage:
                self.batch.append([first])
                return False
            start += size
            blobs = [*blobs, *lease.views] if lease is not None else blobs
        elif len(blobs) != (0 if stream.form == METADATA else stamp[3]):
            self.batch.append([first])
            return False
        self._stream, self.form = stream, _FORMS[stream.form]
        latency = self.streams.take(stream, stamp)
        if size and lease is None:  # the publisher needed the memory for something newer
            self.streams.lost += 1
            self.aside += 1
            return False
        release = None if lease is None else lease.release
        self.batch.append(Stamped(stream.name, first[start:], blobs, stamp, latency, release))
        return bool(blobs)

    def _take_batch(self, stream: Stream, stamp: Stamp, frames: list[Any]) -> bool:
        """Take several messages in one frame, which have no blobs."""
        try:
            self._take_several(stream, stamp, frames[0] if len(frames) == 1 else b"")
        except struct.error:
            self.batch.append(frames[:1])
        else:
            self._stream, self.form, self.streams.met = stream, _FORMS[stream.form], True
        return False

    def _take_several(self, stream: Stream, stamp: Stamp, frame: bytes) -> None:
        """Take the messages of a batch, all or none.

        Raises:
            struct.error: it breaks the rules.
        """
        if stamp[3] or stamp[4]:
            raise struct.error("expected no blobs")
        sequence, realtime, monotonic = stamp[:3]
        times, messages = read_batch(frame, stream.length + STAMP_BYTES, stamp[5])
        streams, take, name = self.streams, self.batch.append, stream.name
        streams.jump(stream, sequence)
        latency, note = streams.clock() - stamp[streams.sent], streams.latencies.append
        for number, (time, metadata) in enumerate(zip(times, messages, strict=True), sequence):
            note(latency - time)
            own = (number, realtime + time, monotonic + time, 0, 0, 0, stamp[6])
            take(Stamped(name, metadata, _NO_BLOBS, own, latency - time))
        stream.due = max(stream.due, sequence + len(messages))
        self.aside += 1 - len(messages)
