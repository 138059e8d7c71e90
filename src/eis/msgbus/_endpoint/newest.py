"""The newest messages of a stream, however slow its reader is. Does not know what carries them, nor what they mean."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from eis.msgbus._channel import Channel, Closed, Counts, Wakeup, at_the_end
from eis.msgbus._waiting import wait
from eis.msgbus._wire import Frames, Stamped
from eis.msgbus.exceptions import MessageBusError, MsgbusException

__all__ = ["NewestChannel", "how_many"]

_PATIENCE = 2.0  # seconds; more than a wait needs to notice that it was woken


class NewestChannel:
    """Take every message from `inner` as soon as it comes, in a thread, and keep the last `count` for the reader.

    The queue of a transport keeps the oldest when it is full; a reader who emptied it himself would get old ones.
    """

    def __init__(self, inner: Channel, count: int) -> None:
        self.status = inner.status
        self._inner = inner
        self._kept: deque[Frames | Stamped] = deque(maxlen=count)
        self._taken = self._handed = 0
        self._fault: MsgbusException | None = None
        self._end: Exception | None = None
        self._guard = threading.RLock()  # for readers only: a signal handler may wait for the thread to end
        self._wakeup = Wakeup()
        at_the_end(self, self._wakeup.close)
        self._thread = threading.Thread(target=self._run, name="msgbus-newest", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        tried = False
        while self._end is None:
            try:
                wait(self._inner, self._take, None, tried=tried)
                tried = False
            except Closed as error:
                self._end = error
            except MsgbusException as error:  # told to the reader; and not at once again
                self._fault, tried = error, True
            except Exception as error:  # noqa: BLE001  # the reader gets it
                self._end = error
            self._wakeup.set()

    def _take(self) -> bool | None:
        messages = self._inner.receive()
        self._kept.extend(messages)
        self._taken += len(messages)
        return True if messages or self._end is not None else None

    def send(self, frames: Frames) -> None:
        """Refuse: a subscriber only receives."""
        self._inner.send(frames)

    def receive(self) -> Sequence[Frames | Stamped]:
        """Return the oldest message of those that are kept: one, so that the others can still give way to newer ones.

        Raises:
            As that of the inner channel.
        """
        with self._guard:
            self._wakeup.clear()
            try:
                message = self._kept.popleft()
            except IndexError:
                self._raise()
                return ()
            self._handed += 1
            if self._kept or self._fault is not None or self._end is not None:
                self._wakeup.set()
            return (message,)

    def _raise(self) -> None:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        if self._end is not None:
            raise self._end

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptor to wait for."""
        return (self._wakeup.fileno(),)

    def wake(self) -> None:
        """Make a wait return."""
        self._wakeup.set()

    def counts(self) -> Counts:
        """Return what was counted so far; `skipped` are those that gave way to newer ones."""
        handed, kept = self._handed, len(self._kept)
        skipped = max(0, self._taken - handed - kept)
        return dataclasses.replace(self._inner.counts(), received=handed, skipped=skipped)

    def close(self) -> None:
        """End the thread, then close the inner channel."""
        self._end = self._end or Closed("closed")
        self._inner.wake()
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)
        self._kept.clear()
        self._inner.close()
        self._wakeup.set()


def how_many(keep_last: Any, keep: Any) -> int | None:
    """Return how many messages a subscriber keeps, None for all of them.

    Raises:
        MessageBusError: what was said has no meaning.
    """
    if keep is not None:
        if keep != "latest" or keep_last is not None:
            raise MessageBusError(f"keep: expected 'latest', and then no keep_last, got {keep!r} and {keep_last!r}")
        return 1
    if keep_last is None or (isinstance(keep_last, int) and not isinstance(keep_last, bool) and keep_last > 0):
        return keep_last
    raise MessageBusError(f"keep_last: expected a number of messages, 1 or more, got {keep_last!r}")
