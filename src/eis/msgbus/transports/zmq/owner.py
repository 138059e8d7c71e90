"""What a link asks of whoever owns it, mostly in the supervisor's thread. Does not know what they do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["LinkOwner"]


class LinkOwner:
    """Own a link. `lock` guards its socket: whoever sends, receives or changes it holds the lock.

    `changed` is called, without the lock, after the supervisor touched the socket or found something out; it returns
    False while the socket is in use, and is called again then. `settle` is called when the socket has news, until it
    returns True; None: never.
    """

    lock: AbstractContextManager[Any]
    changed: Callable[[], bool]
    settle: Callable[[], bool] | None = None

    def progress(self) -> int | None:
        """Return a number that changes with every message that comes; None while some wait to be taken."""

    def drain(self) -> None:
        """Take what has come, before the socket gives its address up. Called with the lock."""

    def was_cut(self) -> None:
        """Take notice that all connections were cut: who had one may not be let in again. Called with the lock."""
