"""Time limits as the blocking API says them: in milliseconds, in the original's order and in ours. Does not wait."""

from __future__ import annotations

from typing import Any

from eis.msgbus.exceptions import MessageBusError

__all__ = ["milliseconds_to_wait", "seconds_of"]

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
    chosen = _checked(timeout if limit == -1 else limit)
    return 0 if not blocking and (chosen is None or chosen < 0) else chosen


def _checked(milliseconds: Any) -> float | None:
    if milliseconds is None:
        return None
    is_number = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
    if is_number and milliseconds == milliseconds:  # noqa: PLR0124  # not so NaN
        return milliseconds  # type: ignore[no-any-return]  # just looked at
    raise MessageBusError(f"timeout: expected milliseconds, got {type(milliseconds).__name__} {milliseconds!r}")


def seconds_of(milliseconds: float | None) -> float | None:
    """Return seconds; None where there is no limit, or one that nobody sees the end of."""
    if milliseconds == -1:
        return None
    if type(milliseconds) is int and 0 <= milliseconds <= _ENDLESS:
        return milliseconds / 1000
    checked = _checked(milliseconds)
    return None if checked is None or checked < 0 or checked > _ENDLESS else checked / 1000
