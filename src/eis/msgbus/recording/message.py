"""A message of the bus to the parts that a file holds, and back. Knows no file and no bus."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.recording.blobs import Kind, described, unwrap, wrap

__all__ = ["Part", "Recorded", "pack", "steady_clock", "unpack"]

_OBJECTS = 250  # bytes for a message and for each part, besides what they hold


class Part(NamedTuple):
    """Be the metadata of a message as JSON, or one blob: then it has a number, from 0, and a kind."""

    number: int | None
    kind: Kind | None
    data: bytes


class Recorded(NamedTuple):
    """Be one message; the times are nanoseconds since the epoch.

    `log_time` is when it was received, `publish_time` when it was published, by the publisher's clock; the same where
    that is not known. `sequence` is the publisher's number of it, 0 where it has none.
    """

    topic: str
    parts: tuple[Part, ...]
    log_time: int
    publish_time: int
    sequence: int

    @property
    def size(self) -> int:
        """Return the bytes of its parts."""
        return sum(len(part.data) for part in self.parts)

    @property
    def memory(self) -> int:
        """Return about how many bytes it takes while it waits."""
        return self.size + len(self.topic) + _OBJECTS * (1 + len(self.parts))


def pack(envelope: MsgEnvelope[Any], now: int) -> Recorded:
    """Return the parts of a message that was received just now: copies, so that it can be released."""
    published = now if envelope.sent_at is None else max(0, round(envelope.sent_at * 1e9))  # a file knows none below 0
    meta_data = envelope.meta_data
    parts = [] if meta_data is None else [Part(None, None, msgspec.json.encode(meta_data))]
    for index, view in enumerate(envelope.views):
        parts.append(Part(index, *wrap(view, described(meta_data, index), published)))
    return Recorded(envelope.name or "", tuple(parts), now, published, envelope.sequence or 0)


def unpack(message: Recorded) -> MsgEnvelope[Any]:
    """Return the message as it was, to be published.

    Raises:
        MessageBusError: the parts are not what `pack` made.
    """
    meta_data, blobs = None, []
    try:
        for part in message.parts:
            if part.kind is None:
                meta_data = msgspec.json.decode(part.data, type=dict[str, Any])
            else:
                blobs.append(unwrap(part.kind, part.data))
    except (ValueError, DecodeError, RecursionError) as error:
        raise MessageBusError(f"a recorded message of {message.topic!r} is damaged: {error}") from error
    return MsgEnvelope(meta_data, blobs)


def steady_clock() -> Callable[[], int]:
    """Return a clock of nanoseconds since the epoch that no correction of the system's time sets back."""
    ahead = time.time_ns() - time.monotonic_ns()
    return lambda: time.monotonic_ns() + ahead
