"""Whether TCP without keys is an error: by the configuration, or by the environment of a whole fleet. Reads no keys."""

from __future__ import annotations

import os

from eis.msgbus.exceptions import InvalidConfig

__all__ = ["who_requires"]

VARIABLE = "MSGBUS_REQUIRE_ENCRYPTION"
_MEANING = {"1": True, "true": True, "yes": True, "": False, "0": False, "false": False, "no": False}


def who_requires(configured: bool) -> str | None:
    """Return what requires encryption, None if nothing does.

    Raises:
        InvalidConfig: the environment variable says neither yes nor no.
    """
    said = os.environ.get(VARIABLE, "")
    if (required := _MEANING.get(said.strip().lower())) is None:
        raise InvalidConfig(f"expected 1, true, yes, 0, false or no, got {said!r}", f"environment variable {VARIABLE}")
    if configured:
        return "require_encryption"
    return VARIABLE if required else None
