"""The JSON Schema of metadata, from the first of a topic: so that Foxglove offers their keys. Pure.

Foxglove reads a part of JSON Schema only: every object has `properties`, every array has items of one simple type or
objects, and nothing is null. What it could not read is left out, and so is what lies very deep, as a stranger may send
it. The schema says what is there, and forbids nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["schema_of"]

_DEEPEST = 16
_SIMPLE = {bool: "boolean", str: "string", int: "number", float: "number"}


def schema_of(meta_data: Mapping[str, Any], levels: int = _DEEPEST) -> dict[str, Any]:
    """Return the schema of one object, down to so many levels."""
    described = {key: _described(value, levels - 1) for key, value in meta_data.items()} if levels else {}
    return {"type": "object", "properties": {key: schema for key, schema in described.items() if schema}}


def _described(value: Any, levels: int) -> dict[str, Any]:
    """Return the schema of a value, empty where Foxglove has none."""
    if isinstance(value, dict):
        return schema_of(value, levels)
    if isinstance(value, list):
        return _of_items(value, levels)
    return {"type": _SIMPLE[type(value)]} if type(value) in _SIMPLE else {}


def _of_items(values: list[Any], levels: int) -> dict[str, Any]:
    if values and all(isinstance(value, dict) for value in values):
        return {"type": "array", "items": schema_of({key: each[key] for each in values for key in each}, levels)}
    kinds = {_SIMPLE.get(type(value)) for value in values}
    return {"type": "array", "items": {"type": kinds.pop()}} if len(kinds) == 1 and None not in kinds else {}
