"""Metadata to JSON, and what is refused because JSON has no form for it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import InvalidMessage

__all__ = ["encode_dict", "encode_metadata", "is_metadata"]

_exact = frozenset((str, int, bool, type(None)))  # nothing inside of them, and always a form in JSON


def is_metadata(part: Any) -> bool:
    """Tell whether this is a dict, or an instance of a msgspec Struct or dataclass."""
    kind: Any = type(part)
    return _holds_metadata(kind)


@functools.lru_cache(128)
def _holds_metadata(kind: type) -> bool:
    if issubclass(kind, dict | msgspec.Struct):
        return not issubclass(kind, MsgEnvelope)
    return dataclasses.is_dataclass(kind) and not issubclass(kind, type)


def _convert(value: Any) -> Any:
    """Turn what msgspec does not know, but JSON has a form for, into what it knows."""
    for plain in (str, float, int):  # a subclass, such as numpy.float64
        if isinstance(value, plain):
            return plain(value)
    if _is_scalar(value):
        return value.item()
    raise _Unsendable(type(value).__name__)


def _is_scalar(value: Any) -> bool:
    """Tell whether this is a number or truth value of NumPy."""
    return getattr(value, "shape", None) == () and hasattr(value, "item") and value.dtype.kind in "biuf"


class _Unsendable(Exception):
    """Carry the name of a type that JSON has no form for."""


REFUSALS = (TypeError, ValueError, RecursionError, _Unsendable)  # what dumps raises
dumps = msgspec.json.Encoder(enc_hook=_convert, order="deterministic").encode  # this order refuses keys that are no str


def encode_dict(metadata: dict[str, Any]) -> bytes:
    """Return a dict as JSON: exact integers, no NaN, no key or value that JSON has no form for.

    The usual one, a flat dict of text, numbers and truth values, takes one short loop: msgspec would write bytes, sets
    and NaN as something else, so the values are looked at first.
    """
    for value in metadata.values():
        kind = value.__class__
        if kind is not str and kind is not int and kind is not bool and (kind is not float or value - value != 0.0):
            break  # value - value is 0 for every float but NaN and the infinities
    else:
        try:
            return dumps(metadata)
        except REFUSALS as error:
            raise explained(metadata, error) from error
    try:
        _check(metadata, "metadata")
        return dumps(metadata)
    except InvalidMessage:
        raise
    except REFUSALS as error:
        raise explained(metadata, error) from error


def encode_metadata(metadata: Any) -> bytes:
    """Return metadata of any kind as JSON."""
    if isinstance(metadata, dict):
        return encode_dict(metadata if type(metadata) is dict else dict(metadata))
    if not is_metadata(metadata):
        raise InvalidMessage(f"expected a dict, got {type(metadata).__name__}", "metadata")
    try:
        data = dumps(metadata)
        if b"null" in data:  # None, or a number that JSON has no form for
            _check_numbers(metadata, "metadata")
    except InvalidMessage:
        raise
    except REFUSALS as error:
        raise explained(metadata, error) from error
    if data[0] != ord("{"):
        raise InvalidMessage(f"expected an object, got {type(metadata).__name__} that is an array", "metadata")
    return data


def _check(value: Any, where: str) -> None:
    """Refuse what JSON has no form for, though msgspec would write something."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        if not _exact.issuperset(map(type, value)):
            for index, item in enumerate(value):
                _check(item, f"{where}[{index}]")
    elif isinstance(value, float) or _is_scalar(value):
        _check_number(value, where)
    elif not isinstance(value, str | int | None):
        raise InvalidMessage(f"cannot send {type(value).__name__} inside metadata", where)


def _check_numbers(value: Any, where: str) -> None:
    """Refuse NaN and the infinities inside of a Struct or dataclass, whose types msgspec knows how to write."""
    if isinstance(value, float):
        _check_number(value, where)
    for place, item in _children(value, where):
        _check_numbers(item, place)


def _check_number(value: float, where: str) -> None:
    if not math.isfinite(value):
        raise InvalidMessage(f"cannot send {value} inside metadata: JSON has no form for it", where)


def _children(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield what is inside of a value, with its place."""
    if isinstance(value, dict):
        yield from ((f"{where}.{key}", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"{where}[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, msgspec.Struct):
        yield from ((f"{where}.{key}", getattr(value, key)) for key in value.__struct_fields__)
    elif is_metadata(value):
        yield from ((f"{where}.{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value))


def explained(metadata: Any, error: Exception) -> InvalidMessage:
    """Return the error that names the innermost value of the metadata which the encoder refuses."""
    return _explained(metadata, "metadata", error)


def _explained(value: Any, where: str, error: Exception) -> InvalidMessage:
    if isinstance(error, RecursionError):
        return InvalidMessage("nested too deep, or contains itself", where)
    for place, item in _children(value, where):
        try:
            dumps(item)
        except REFUSALS as inner:
            return _explained(item, place, inner)
    if isinstance(value, dict):
        return _explained_key(value, where)
    if isinstance(error, UnicodeEncodeError):
        return InvalidMessage("cannot send a lone surrogate inside metadata: UTF-8 has no form for it", where)
    return InvalidMessage(f"cannot send {type(value).__name__} inside metadata", where)


def _explained_key(value: dict[Any, Any], where: str) -> InvalidMessage:
    for key in value:
        if not isinstance(key, str):
            return InvalidMessage(f"expected keys of type str, got {type(key).__name__} {key!r}", where)
    return InvalidMessage("expected keys that UTF-8 can hold, got a lone surrogate", where)
