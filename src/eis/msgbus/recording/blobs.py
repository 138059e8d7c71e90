"""Blobs to messages that Foxglove shows, and back. Pure; knows no file.

What the metadata describe in the words of EIS is an image: `width`, `height`, `channels` of a raw frame (BGR), or
`encoding_type`; of each further blob, an entry in `additional_frames`. Every other blob is bytes that nobody explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.wrappers_pb2 import BytesValue

__all__ = ["Kind", "described", "kind_named", "unwrap", "wrap"]

Kind = type[RawImage] | type[CompressedImage] | type[BytesValue]

_KINDS: dict[str, Kind] = {kind.DESCRIPTOR.full_name: kind for kind in (RawImage, CompressedImage, BytesValue)}
_ENCODINGS = {1: "mono8", 3: "bgr8", 4: "bgra8"}
"""By channels, what Foxglove calls the raw frames of EIS."""
_COMPRESSED = ("jpeg", "png")


def described(meta_data: Any, index: int) -> Mapping[str, Any]:
    """Return what the metadata say of a blob, empty if nothing."""
    found = meta_data
    if index and isinstance(meta_data, dict):
        others = meta_data.get("additional_frames")
        found = others[index - 1] if isinstance(others, list) and index <= len(others) else None
    return found if isinstance(found, dict) else {}


def wrap(blob: memoryview, description: Mapping[str, Any], published: int) -> tuple[Kind, bytes]:
    """Return what a blob is, and the bytes of a message that holds it.

    The blob is copied once: the message is written without it, and it follows as one more field. protobuf's own way
    took 10 ms for a frame of 6.2 MB, this takes 0.2.
    """
    message = _compressed(description) or _raw(blob.nbytes, description) or BytesValue()
    if not isinstance(message, BytesValue):
        message.timestamp.FromNanoseconds(published)
    field = message.DESCRIPTOR.fields_by_name[_field_name(type(message))]
    tag = bytes([field.number << 3 | 2])  # protobuf's encoding: a number below 16, and what has a length
    return type(message), b"".join((message.SerializeToString(), tag, _varint(blob.nbytes), blob))


def unwrap(kind: Kind, data: bytes) -> bytes:
    """Return the blob of a message that `wrap` made.

    Raises:
        google.protobuf.message.DecodeError: the bytes are none.
    """
    blob = getattr(kind.FromString(data), _field_name(kind))
    assert isinstance(blob, bytes)
    return blob


def kind_named(name: str) -> Kind:
    """Return the kind whose schema has that name; a `KeyError` says that there is none."""
    return _KINDS[name]


def _field_name(kind: Kind) -> str:
    return "value" if kind is BytesValue else "data"


def _compressed(description: Mapping[str, Any]) -> CompressedImage | None:
    encoding = description.get("encoding_type")
    return CompressedImage(format=encoding) if encoding in _COMPRESSED else None


def _raw(nbytes: int, description: Mapping[str, Any]) -> RawImage | None:
    width, height, channels = (description.get(key) for key in ("width", "height", "channels"))
    if not all(type(number) is int and 0 < number < 2**32 for number in (width, height, channels)):
        return None
    assert isinstance(width, int)
    assert isinstance(height, int)
    assert isinstance(channels, int)
    if channels not in _ENCODINGS or width * height * channels != nbytes:
        return None
    return RawImage(width=width, height=height, step=width * channels, encoding=_ENCODINGS[channels])


def _varint(number: int) -> bytes:
    """Return a length as protobuf writes it: seven bits a byte, the lowest first."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
