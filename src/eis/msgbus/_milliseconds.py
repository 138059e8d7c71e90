"""Time limits as a program says them: the blocking API in the original's order or in ours. Does not wait."""

from __future__ import annotations

from typing import Any

from eis.msgbus.exceptions import MessageBusError

__all__ = ["checked", "milliseconds_to_wait", "seconds_of"]

_ENDLESS = 1e15  # milliseconds; 30,000 years


def milliseconds_to_wait(
    limit: float | bool | None, second: float | bool | None, timeout: float | None, blocking: bool
) -> float | None:
    """Return the milliseconds to wait, below 0 or None for ever, from the ways in which they can be said."""
    if limit == timeout == -1 and second is None and blocking:
        return -1
    if isinstance(limit, bool):  # the original's order: recv(blocking, timeout)
        blocking = limit
        limit = -1 if second is None else second
    elif second is not None:
        blocking = bool(second)
    chosen = checked(timeout if limit == -1 else limit)
    return 0 if not blocking and (chosen is None or chosen < 0) else chosen


def checked(limit: Any, unit: str = "milliseconds") -> float | None:
    """Return a time limit, in whatever unit, None for none.

    Raises:
        MessageBusError: it is no number.
    """
    if limit is None:
        return None
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if is_number and limit == limit:  # noqa: PLR0124  # not so NaN
        return limit  # type: ignore[no-any-return]  # just looked at
    raise MessageBusError(f"timeout: expected {unit}, got {type(limit).__name__} {limit!r}")


def seconds_of(milliseconds: float | None) -> float | None:
    """Return seconds; None where there is no limit, or one that nobody sees the end of."""
    if milliseconds == -1:
        return None
    if type(milliseconds) is int and 0 <= milliseconds <= _ENDLESS:
        return milliseconds / 1000
    limit = checked(milliseconds)
    return None if limit is None or limit < 0 or limit > _ENDLESS else limit / 1000
