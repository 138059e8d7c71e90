"""Single values that a user wrote for a broker: checked, with their place in every error. Knows no key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from eis.msgbus.exceptions import InvalidConfig

__all__ = ["check_known", "located", "number", "object_at"]


@contextlib.contextmanager
def located(side: str) -> Iterator[None]:
    """Put the side in front of the place of what is wrong."""
    try:
        yield
    except InvalidConfig as error:
        raise InvalidConfig(error.problem, f"{side}.{error.where}".removesuffix(".")) from error


def object_at(written: Mapping[str, Any], key: str, within: str = "") -> Mapping[str, Any]:
    """Return the object that stands under a key."""
    value = written.get(key)
    if not isinstance(value, Mapping):
        got = "nothing" if value is None else type(value).__name__
        raise InvalidConfig(f"expected an object, got {got}", within + key)
    return value


def number(value: Any, where: str, least: int, most: int) -> int:
    """Return a number within limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidConfig(f"expected a number from {least} to {most}, got {value!r}", where)
    return value


def check_known(written: Mapping[str, Any], known: tuple[str, ...], within: str = "") -> None:
    """Refuse keys that are not known."""
    for key in written:
        if key not in known:
            others = "" if within else ", or interfaces"
            raise InvalidConfig(f"unknown key; known are {', '.join(known)}{others}", f"{within}{key}")
