"""Frames to envelopes, whatever the frames are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

from eis.msgbus._wire.frames import BLOB, HEADER, JSON, ONE, Frames
from eis.msgbus._wire.native import Stamped
from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import InvalidMessage

__all__ = ["Decoder", "decode"]

M = TypeVar("M")

_PLAIN_LENGTH = HEADER + 1  # metadata alone
_MOST_TOLD = 200  # characters of what is wrong: it may quote a stranger, and is logged
_UNREADABLE = (ValueError, RecursionError)  # what msgspec raises: its errors and those of Unicode are ValueErrors


class Decoder(Generic[M]):
    """Turn messages into envelopes with metadata of one type; with `metadata_only`, without blobs."""

    __slots__ = ("_loads", "_metadata_only", "_names", "_place", "_type")

    def __init__(self, type: type[M] | Any = dict, *, metadata_only: bool = False) -> None:
        self._metadata_only = metadata_only
        self._loads = msgspec.json.Decoder(type).decode
        self._names: dict[bytes, str] = {}
        self._place = "metadata" if type is not dict else ""
        self._type = type

    def __call__(self, frames: Frames | Stamped) -> MsgEnvelope[M]:
        """Return the envelope of one message, by the original's frames or of a native stream.

        Raises:
            InvalidMessage: and nothing else. Its `where` is empty where the frames break the rules of the wire, and
                names the place where sound metadata does not fit the type.
        """
        if isinstance(frames, Stamped):
            return self._of_stream(frames)
        _check_header(frames)
        name = self._names.get(frames[0]) or _decode_name(frames[0], self._names)
        if frames[1] == BLOB:
            return MsgEnvelope(self._without_metadata(), None if self._metadata_only else frames[3], name)
        blobs = None if self._metadata_only else frames[4:] or None
        return MsgEnvelope(self._metadata(frames[3]), blobs, name)

    def _of_stream(self, message: Stamped) -> MsgEnvelope[M]:
        metadata = self._metadata(message.metadata) if message.metadata else self._without_metadata()
        blobs = None if self._metadata_only else message.blobs or None
        return MsgEnvelope(metadata, blobs, message.name, message.stamp, message.latency, message.release)

    def _metadata(self, frame: Any) -> M:
        try:
            return self._loads(frame)  # type: ignore[no-any-return]  # an M, by how the decoder was made
        except _UNREADABLE as error:
            raise _unreadable(error, self._place) from error

    def one(self, frames: Frames | Stamped) -> MsgEnvelope[M]:
        """Do as a call, in few steps where it is metadata alone in the original's frames: most requests are."""
        if not isinstance(frames, Stamped) and len(frames) == _PLAIN_LENGTH:
            name, kind, count, metadata = frames
            if kind == JSON and count == ONE and name in self._names:
                try:
                    return MsgEnvelope(self._loads(metadata), None, self._names[name])
                except _UNREADABLE as error:
                    raise _unreadable(error, self._place) from error
        return self(frames)

    def each(
        self, messages: Iterable[Frames | Stamped], take: Callable[[MsgEnvelope[M]], None]
    ) -> Iterator[InvalidMessage]:
        """Hand the envelope of each message to `take`, and yield what is wrong with the others: the hot path.

        It is one loop, with what it needs at hand, since metadata alone is what most messages are.
        """
        loads, names, metadata_only = self._loads, self._names, self._metadata_only
        for frames in messages:
            try:
                if isinstance(frames, Stamped):
                    if frames.metadata:
                        blobs = None if metadata_only else frames.blobs or None
                        stamp, latency, release = frames.stamp, frames.latency, frames.release
                        take(MsgEnvelope(loads(frames.metadata), blobs, frames.name, stamp, latency, release))
                        continue
                elif len(frames) == _PLAIN_LENGTH:
                    name, kind, count, metadata = frames
                    if kind == JSON and count == ONE and name in names:
                        take(MsgEnvelope(loads(metadata), None, names[name]))
                        continue
                take(self(frames))
            except InvalidMessage as error:
                yield error
            except _UNREADABLE as error:
                yield _unreadable(error, self._place)

    def _without_metadata(self) -> Any:
        """Return the metadata of a message that has none, where that fits the type."""
        if self._type is not dict:
            expected = getattr(self._type, "__name__", self._type)
            raise InvalidMessage(f"expected {expected}, got a message without metadata", "metadata")


def _decode_name(frame: bytes, names: dict[bytes, str]) -> str:
    """Return the name without its NUL (an old peer may leave it out), and remember it."""
    try:
        name = str(frame, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"expected a name in UTF-8, got {bytes(frame[:40])!r}") from error
    name = name.removesuffix("\0")
    if len(names) < 256 and len(frame) <= 256:  # a stranger's names cannot fill the memory
        names[frame] = name
    return name


def _check_header(frames: Frames) -> None:
    if len(frames) <= HEADER:
        raise InvalidMessage(f"expected a name, a content type, a count and parts, got {len(frames)} frames")
    kind, count, parts = frames[1][:40], frames[2][:40], len(frames) - HEADER
    if kind not in (JSON, BLOB):
        raise InvalidMessage(f"expected content type 0 or 1, got {kind!r}")
    if len(count) != 1 or count[0] != parts:
        raise InvalidMessage(f"announced {count!r} parts, sent {parts}")
    if kind == BLOB and parts != 1:
        raise InvalidMessage(f"expected one blob without metadata, got {parts}")


def _unreadable(error: Exception, place: str) -> InvalidMessage:
    """Return what is wrong with metadata: with its place where it is sound, but does not fit the type."""
    if not isinstance(error, msgspec.ValidationError):
        return InvalidMessage(f"expected a JSON object: {error}")
    problem, _, path = str(error).replace("`", "").partition(" - at ")
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in problem[:_MOST_TOLD])
    return InvalidMessage(shown[:1].lower() + shown[1:], place and place + path.removeprefix("$"))


decode: Callable[[Frames], MsgEnvelope[Any]] = Decoder(dict)
