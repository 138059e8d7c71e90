"""Small messages that wait for each other, to go out in one frame. Sends nothing, and looks at no clock.

To hand a frame to libzmq, and to take it out again, is a third of what a small message costs. So those of a publisher
in a hurry, and only those, gather. What waits has gone out after two ticks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from eis.msgbus._wire.native import Stamp, pack_batch

__all__ = ["ENOUGH", "FEW", "LARGEST", "LONGEST", "Batch", "Flusher", "Hurry"]

ENOUGH = 64
"""Messages in one frame; they cost a tenth less than with 32."""

FEW = 4
"""Messages in one frame with fewer of which nothing is gained."""

LARGEST = 512
"""Bytes of metadata of a message that may wait."""

LONGEST = (ENOUGH + 1) * (LARGEST + 6) + 1024
"""Bytes of a frame of them, at most: with the time and length of each, and a header with a name of 512.

There is one more if a signal ended `publish` before the last one was sent.
"""

_FAST = 32  # messages per millisecond; by then each waits for the I/O thread anyway
_PAUSE = 3_000_000  # nanoseconds between two looks after which there is no hurry
_OFTEN = 2000  # messages; a tick takes as long as some hundred of them
_CALM, _CALMEST = 5_000_000, 1_000_000_000  # nanoseconds
_TICK = 0.001  # seconds


class Batch:
    """Gather messages of one stream, with the time of each; `first` is the stamp of the first of them."""

    __slots__ = ("first", "messages", "prefix")

    def __init__(self) -> None:
        self.begin(b"", (0,) * 7)

    def begin(self, prefix: bytes, first: Stamp) -> None:
        """Begin anew. Whoever gathers appends to `messages` himself: calls cost."""
        self.prefix, self.first = prefix, first
        self.messages: list[tuple[int, bytes]] = []

    def frame(self) -> bytes:
        """Return the frame of all that was gathered."""
        return pack_batch(self.prefix, self.first, *zip(*self.messages, strict=True))


class Hurry:
    """Tell whether messages come so fast that it pays to gather them: `on`. Times are CLOCK_MONOTONIC in nanoseconds.

    Whoever publishes some messages and then waits, for an answer perhaps, is not to wait for a tick each time.
    """

    def __init__(self) -> None:
        self.on = False
        self._at = self._count = 0
        self._hurried = 0  # messages since some waited in vain
        self._calm_until, self._calm = 0, _CALM

    def look(self, now: int, count: int) -> None:
        """Take notice that there have been so many messages by now."""
        elapsed, messages = now - self._at, count - self._count
        if self.on:
            self._hurried += messages
        fast = elapsed <= _PAUSE and messages * 1_000_000 >= _FAST * elapsed
        self.on = fast and now >= self._calm_until
        self._at, self._count = now, count

    def waited_in_vain(self, now: int) -> None:
        """Take notice that messages waited for others that did not come; if it is often so, be calm for a while."""
        often = self._hurried < _OFTEN
        self._hurried = 0
        self._calm = min(2 * self._calm, _CALMEST) if often else _CALM
        if often:
            self.on, self._calm_until = False, now + self._calm


class Flusher:
    """See in a thread of its own that nothing waits for long.

    `waiting` returns the messages that wait, the same object as long as they do, or None; `flush` is called with those
    that have waited for a whole tick. What is dropped in any thread, in the middle of its wait too, may `end` this: an
    Event has a lock that its own thread would wait for.
    """

    def __init__(self, waiting: Callable[[], object], flush: Callable[[object], None]) -> None:
        self.active = False
        self._waiting, self._flush = waiting, flush
        self._called: SimpleQueue[None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ready(self) -> bool:
        """Begin, if it has not begun; tell whether there is a thread: the system may have none left."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="msgbus flusher", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def begin(self) -> None:
        """Take notice that something waits. Nobody needs to say so while it is `active`."""
        self.active = True
        self._called.put(None)

    def end(self) -> None:
        """Let the thread end."""
        self._ended.put(None)
        self._called.put(None)

    def _run(self) -> None:
        while self._ended.empty():
            self._called.get()
            while self._tick():
                pass

    def _tick(self) -> bool:
        """Flush what has waited for a tick; tell whether to go on.

        Whoever lets messages wait does so first, and then looks whether this is active; here it is the other way round.
        """
        before = self._waiting()
        if self._ends_within(_TICK):
            return False
        if before is None:
            self.active = False
            self.active = self._waiting() is not None
            return self.active
        if self._waiting() is before:
            self._flush(before)
        return True

    def _ends_within(self, seconds: float) -> bool:
        try:
            self._ended.get(timeout=seconds)
        except Empty:
            return False
        self._ended.put(None)
        return True
