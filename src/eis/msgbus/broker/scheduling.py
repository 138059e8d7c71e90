"""How the system schedules a broker: set for this thread, which its threads inherit, and undone. Knows no socket."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable

from eis.msgbus.exceptions import InvalidConfig, MessageBusError

__all__ = ["schedule"]


def schedule(policy: str | None, priority: int) -> Callable[[], None]:
    """Have the system schedule this thread, and all that it starts, so; return what undoes it for this thread.

    Raises:
        InvalidConfig: not on this system.
        MessageBusError: the system refuses.
    """
    if policy is None:
        return lambda: None
    if sys.platform != "linux":
        raise InvalidConfig("can be set on Linux only", "sched_policy")
    thread = threading.get_native_id()
    before = os.sched_getscheduler(thread), os.sched_getparam(thread)

    def undo() -> None:
        with contextlib.suppress(OSError):  # the thread has ended, or may not go back
            os.sched_setscheduler(thread, *before)

    try:
        os.sched_setscheduler(thread, getattr(os, policy), os.sched_param(priority))
    except OSError as error:
        problem = f"cannot be scheduled as {policy} with priority {priority}: {error.strerror}"
        raise MessageBusError(problem) from error
    return undo
