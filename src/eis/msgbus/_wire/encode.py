"""Anything that can be published, to frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eis.msgbus._wire.frames import BLOB, COUNTS, JSON, MAX_PARTS, ONE, Frames
from eis.msgbus._wire.metadata import encode_dict, encode_metadata, is_metadata
from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import InvalidMessage, MessageBusError
from eis.msgbus.loan import Loan

__all__ = ["encode", "encode_name"]


def encode_name(name: str) -> bytes:
    """Return the first frame of every message of the topic or service `name`.

    Raises:
        MessageBusError: the name is no string, or has no form on the wire.
    """
    if not isinstance(name, str):
        raise MessageBusError(f"name: expected str, got {type(name).__name__}")
    if "\0" in name:
        raise MessageBusError(f"name {name!r}: expected no NUL inside")
    try:
        return name.encode() + b"\0"
    except UnicodeEncodeError as error:
        raise MessageBusError(f"name {name!r}: expected text that UTF-8 can hold") from error


def encode(name: bytes, message: Any) -> Frames:
    """Return the frames of `message` under the name frame `name`.

    A message is a dict, a buffer, a tuple or list of dicts and buffers, a `MsgEnvelope`, or an instance of a
    msgspec Struct or dataclass. Buffers stay the caller's: they are not copied here.

    Raises:
        InvalidMessage: `message` has no form on the wire; `where` names the place.
    """
    if type(message) is dict:
        return name, JSON, ONE, encode_dict(message)
    metadata, blobs = _split(message)
    parts = [_flat(blob, f"blob {index}") for index, blob in enumerate(blobs)]
    if metadata is None and len(parts) == 1:
        return [name, BLOB, ONE, *parts]
    if metadata is None and not parts:
        raise InvalidMessage("expected metadata or a blob, got neither")
    parts.insert(0, encode_metadata({} if metadata is None else metadata))
    if len(parts) > MAX_PARTS:
        raise InvalidMessage(f"expected at most {MAX_PARTS} parts, got {len(parts)}")
    return [name, JSON, COUNTS[len(parts)], *parts]


def _split(message: Any) -> tuple[Any, Iterable[Any]]:
    """Return the metadata (None: none) and the blobs of anything that can be published."""
    if isinstance(message, MsgEnvelope):
        return message.meta_data, message._parts()
    if isinstance(message, list | tuple):
        metadata: list[Any] = []
        blobs: list[Any] = []
        for part in message:
            (metadata if is_metadata(part) else blobs).append(part)
        return _merged(metadata), blobs
    if is_metadata(message):
        return message, ()
    return None, (message,)


def _merged(metadata: list[Any]) -> Any:
    """Return the one metadata, or a new dict of several: the caller's own stay as they are."""
    if len(metadata) < 2:
        return metadata[0] if metadata else None
    merged: dict[str, Any] = {}
    for part in metadata:
        if not isinstance(part, dict):
            raise InvalidMessage(f"expected one {type(part).__name__} alone or several dicts, got both", "metadata")
        merged.update(part)
    return merged


def _flat(blob: Any, where: str) -> Any:
    """Return `blob` as bytes or a flat view of its bytes."""
    if type(blob) is bytes:
        return blob
    if isinstance(blob, Loan):
        return blob.view or b""
    try:
        view = memoryview(blob)
    except TypeError as error:
        expected = "a dict, a buffer, or a tuple or list of them"
        raise InvalidMessage(f"expected {expected}, got {type(blob).__name__}", where) from error
    except ValueError as error:
        raise InvalidMessage(f"expected a buffer, got {type(blob).__name__}: {error}", where) from error
    if not view.c_contiguous:
        raise InvalidMessage("expected a C-contiguous buffer (numpy.ascontiguousarray makes one)", where)
    if "O" in view.format:
        raise InvalidMessage("expected plain values, got an array of Python objects", where)
    if not view.nbytes:
        return b""
    return view.cast("B")
