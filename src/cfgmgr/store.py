"""What keeps the settings of all applications: the contract. Does not know what they mean, or where they are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeAlias

__all__ = ["Changed", "Store", "tell"]

_log = logging.getLogger("cfgmgr")

Changed: TypeAlias = Callable[[str, str], object]
"""What a program does about a change: it is called with the key and its new value."""


class Store(Protocol):
    """Hold texts by keys, which are those of etcd: `/APP/config`, `/Publickeys/APP`."""

    def get(self, key: str) -> str | None:
        """Return the value of a key, None if there is none."""

    def get_prefix(self, prefix: str) -> dict[str, str]:
        """Return the values of all keys that begin with `prefix`."""

    def watch(self, key: str, changed: Changed, *, prefix: bool = False) -> None:
        """Call `changed` from a thread whenever the key, or one that begins with it, has a value it did not have."""

    def close(self) -> None:
        """End the threads of all watches."""


def tell(changed: Changed, key: str, value: str) -> None:
    """Call a program's function; what it raises is logged, and the watch goes on."""
    try:
        changed(key, value)
    except Exception:  # noqa: BLE001  # whatever it is, the next change may be its remedy
        _log.exception("the callback for %s failed; the watch goes on", key)
