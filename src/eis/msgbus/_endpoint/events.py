"""Who wants to know how an endpoint's connection is. Does not know what the endpoint does."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable

from eis.msgbus._status import Listener, LiveStatus, Status

__all__ = ["Events"]

_log = logging.getLogger("eis.msgbus")


class Events:
    """Tell the status of a channel under an endpoint's name, up to its end."""

    def __init__(self, title: str, status: LiveStatus) -> None:
        self._title = title
        self._status = status
        self._end: Status | None = None
        self._listeners: tuple[Listener, ...] = ()
        self._heard = False
        self._lock = threading.RLock()

    def now(self) -> Status:
        """Return the status as it is."""
        return self._end or dataclasses.replace(self._status.now, endpoint=self._title)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every change, until the function that is returned is called."""
        entry = functools.partial(listener)  # given twice, it is called twice
        with self._lock:
            self._listeners = (*self._listeners, entry)
            if not self._heard:
                self._heard = True
                self._status.listen(self.take)
        return lambda: self._forget(entry)

    def end(self) -> None:
        """Tell that the endpoint is closed, once and as the last."""
        with self._lock:
            if self._end is not None:
                return
            self._end = Status(self._title, "closed")
        self._tell(self._end)

    def take(self, status: Status) -> None:
        """Tell what the channel says."""
        if self._end is None:
            self._tell(dataclasses.replace(status, endpoint=self._title))

    def _tell(self, status: Status) -> None:
        for entry in self._listeners:
            try:
                entry(status)
            except Exception:  # noqa: BLE001  # a program's mistake does not end the thread that tells it
                _log.exception("%s: an error in what on_event was given", self._title)

    def _forget(self, entry: Listener) -> None:
        with self._lock:
            self._listeners = tuple(each for each in self._listeners if each is not entry)
