"""What new peers say to each other besides the original's frames. No sockets, no clocks.

A message of a native stream has its header and its metadata in one frame; its blobs follow, or stay with the sender:

    MARK form name NUL | version epoch | stamp | metadata, JSON or nothing

The stamp is `sequence realtime monotonic blobs descriptor batch subscribers`.

Of a frame in shared memory the descriptor has so many bytes, they stand before the metadata, and no blobs follow. A
batch is that many messages without blobs in one frame. The stamp is that of the first, and before their metadata stand

    nanoseconds since the earliest, of each | bytes of metadata, of each

MARK is a byte that UTF-8 never has, so that no topic and no subscription of an old peer begins with it. A subscription
to `MARK form prefix` lets the messages through; a subscription that *asks*, `MARK ? nonce form prefix`, has the
publisher change over to that form, and the answer, a `Hello`, begins with the question.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec

__all__ = [
    "LONGEST_NAME",
    "MARK",
    "METADATA",
    "NONCE_BYTES",
    "PLAIN",
    "SHARED",
    "STAMP_BYTES",
    "WHOLE",
    "Ask",
    "Hello",
    "Stamp",
    "Stamped",
    "form_filter",
    "is_ask",
    "pack_batch",
    "pack_stamp",
    "read_ask",
    "read_batch",
    "read_hello",
    "split_prefix",
    "stream_prefix",
    "unpack_stamp",
]

MARK: Final = b"\xff"
PLAIN: Final = b""
"""The original's frames; the other forms are a byte in the header."""
WHOLE: Final = b"w"
METADATA: Final = b"m"
SHARED: Final = b"s"

NONCE_BYTES = 8
LONGEST_NAME = 512  # bytes; what publishers take as a subscription
_VERSION = b"\1"
_ASK = MARK + b"?"
_NATIVE = (WHOLE, METADATA, SHARED)

_stamp = struct.Struct("<QqqBHBH")
STAMP_BYTES = _stamp.size
Stamp = tuple[int, int, int, int, int, int, int]
"""Sequence number, CLOCK_REALTIME and CLOCK_MONOTONIC of the sending in nanoseconds, number of blobs, of the bytes of
the descriptor that says where in shared memory they lie, of the messages of a batch (0: it is none), and of the
subscribers that the topic had (at most 65,535)."""
pack_stamp = _stamp.pack
unpack_stamp = _stamp.unpack_from


@functools.cache
def _layout(count: int) -> struct.Struct:
    """Return how the times and lengths of a batch of so many messages, 255 at most, are laid out."""
    return struct.Struct(f"<{count}I{count}H")


def pack_batch(prefix: bytes, first: Stamp, times: Sequence[int], messages: Sequence[bytes]) -> bytes:
    """Return the frame of several messages, each with less than 64 KiB of metadata and no blobs.

    `first` is the stamp of the first, as if it came alone; `times` are CLOCK_MONOTONIC in nanoseconds, within 4 s. The
    first may not be the earliest: what a signal handler publishes goes out before what it interrupted.
    """
    sequence, realtime, began, blobs, descriptor, _, subscribers = first
    earliest, count = min(times), len(messages)
    stamp = pack_stamp(sequence, realtime - began + earliest, earliest, blobs, descriptor, count, subscribers)
    layout = _layout(count).pack(*[at - earliest for at in times], *map(len, messages))
    return b"".join((prefix, stamp, layout, *messages))


def read_batch(frame: bytes, start: int, count: int) -> tuple[Sequence[int], list[bytes]]:
    """Return the nanoseconds since the first message, and the metadata, of each; `start` is where the stamp ends.

    Raises:
        struct.error: the frame is shorter or longer than it says.
    """
    layout = _layout(count)
    numbers = layout.unpack_from(frame, start)
    at, messages = start + layout.size, []
    for length in numbers[count:]:
        messages.append(frame[at : at + length])
        at += length
    if at != len(frame):
        raise struct.error(f"expected {at} bytes, got {len(frame)}")
    return numbers[:count], messages


class Stamped(msgspec.Struct, gc=False):
    """Hold a message of a native stream as its channel read it; `latency` is in nanoseconds.

    `metadata` is JSON, empty where there is none. `blobs` may be fewer than the stamp says: of METADATA, none is there.
    `release` lets go of blobs in shared memory at once; None where they are in none.
    """

    name: str
    metadata: bytes
    blobs: Sequence[Any]
    stamp: Stamp
    latency: int
    release: Callable[[], None] | None = None


def stream_prefix(form: bytes, name: bytes, epoch: int) -> bytes:
    """Return what stands before the stamp in every message of a stream; `name` ends with a NUL."""
    return MARK + form + name + _VERSION + epoch.to_bytes(8, "little")


def split_prefix(frame: bytes) -> tuple[bytes, str, int, int] | None:
    """Return form, name and epoch of a stream, and the length of its prefix; None: it is none that we know."""
    form, end = frame[1:2], frame.find(b"\0", 2)
    length = end + 10
    if form not in _NATIVE or not 2 <= end <= LONGEST_NAME + 2:
        return None
    if frame[end + 1 : end + 2] != _VERSION or len(frame) < length + STAMP_BYTES:
        return None
    try:
        return form, frame[2:end].decode(), int.from_bytes(frame[end + 2 : length], "little"), length
    except UnicodeDecodeError:
        return None


def form_filter(form: bytes, prefix: bytes) -> bytes:
    """Return the subscription that lets messages of a form through, of every topic that begins with `prefix`."""
    return MARK + form + prefix if form else prefix


class Ask(NamedTuple):
    """Ask for a form of all topics that begin with `prefix`; the nonce is the asker's alone."""

    nonce: bytes
    form: bytes
    prefix: bytes

    @property
    def subscription(self) -> bytes:
        """Return the subscription that asks."""
        return _ASK + self.nonce + self.form + self.prefix


def is_ask(frame: bytes) -> bool:
    """Tell whether a subscription asks, or a message answers."""
    return frame.startswith(_ASK)


def read_ask(subscription: bytes) -> Ask | None:
    """Return what a subscription asks for; None: no publisher of this version knows it."""
    nonce, form = subscription[2 : 2 + NONCE_BYTES], subscription[2 + NONCE_BYTES : 3 + NONCE_BYTES]
    prefix = subscription[3 + NONCE_BYTES :]
    return Ask(nonce, form, prefix) if form in _NATIVE and b"\0" not in prefix else None


_Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Hello(msgspec.Struct, frozen=True):
    """Say how a subscription begins, in the answer to an Ask.

    `epoch` is the publisher's, new with every start. `form` is the one that the subscriber gets. `machine` is the same
    where CLOCK_MONOTONIC is. `sequences` are the numbers of the last messages by topic; a topic that is missing has
    none yet. `shared` says that shared memory is handed out beside the socket file.
    """

    epoch: int
    form: str
    machine: str
    sequences: Mapping[str, _Sequence]
    shared: bool = False

    def answer(self, ask: Ask) -> bytes:
        """Return the frame that goes to who asked."""
        return ask.subscription + b"\0" + msgspec.json.encode(self)


_hello = msgspec.json.Decoder(Hello)


def read_hello(frame: bytes, ask: Ask) -> Hello | None:
    """Return the answer to `ask`; None: it is another's, or no answer."""
    start = ask.subscription + b"\0"
    if not frame.startswith(start):
        return None
    try:
        return _hello.decode(frame[len(start) :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
