"""Requests that wait until a service takes them: so many, so many bytes, so long. Knows no socket."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from eis.msgbus._wire import Frames

__all__ = ["Asked", "Taker", "Waiting"]


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """Hold a request, the way back to who asked, the bytes of both, and until when a service may take it."""

    frames: Frames
    way_back: Sequence[bytes]
    size: int
    until: float


class Taker:
    """Be who takes requests, one at a time; `ready` tells whether it can take one now."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self.ready = ready


class Waiting:
    """Give each request to one taker: of those who are ready, to the one that has been idle for longest.

    Counts are by word: `requests` that came, `refused` for which there was no room, `expired` that nobody took in
    time, `taken` that somebody has now, and how those ended that somebody had. All may be called from any thread.
    """

    def __init__(self, most: int, most_bytes: int, seconds: float) -> None:
        self._counts: Counter[str] = Counter()
        self.ended = False
        self._most, self._most_bytes, self._seconds = most, most_bytes, seconds
        self._asked: deque[Asked] = deque()
        self._bytes = 0
        self._idle: list[Taker] = []
        self._changed = threading.Condition()

    def counted(self) -> dict[str, int]:
        """Return the counts of now, and how many are `waiting`."""
        with self._changed:
            self._forget_old()
            return {**self._counts, "waiting": len(self._asked)}

    def turn_away(self) -> None:
        """Count what came and is no message."""
        with self._changed:
            self._counts["requests"] += 1
            self._counts["malformed"] += 1

    def over(self, how: str) -> None:
        """Count how a request ended that was taken, under its word."""
        with self._changed:
            self._counts["taken"] -= 1
            self._counts[how] += 1

    def put(self, frames: Frames, way_back: Sequence[bytes]) -> bool:
        """Let a request wait; False, and it is counted: there is no room for it."""
        size = sum(map(len, frames)) + sum(map(len, way_back))
        with self._changed:
            self._counts["requests"] += 1
            self._forget_old()
            if len(self._asked) >= self._most or (self._asked and self._bytes + size > self._most_bytes):
                self._counts["refused"] += 1
                return False
            self._asked.append(Asked(frames, way_back, size, time.monotonic() + self._seconds))
            self._bytes += size
            self._changed.notify_all()
            return True

    def take(self, taker: Taker) -> Asked | None:
        """Wait for the next request that is this taker's; None at the end."""
        with self._changed:
            self._idle.append(taker)
            try:
                while not (self.ended or self._is_next(taker)):
                    self._changed.wait(self._oldest_left())
                return None if self.ended else self._given()
            finally:
                self._idle.remove(taker)
                self._changed.notify_all()

    def look_again(self) -> None:
        """Have all takers asked anew whether they are ready."""
        with self._changed:
            self._changed.notify_all()

    def end(self) -> None:
        """Give no request to anybody any more."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _is_next(self, taker: Taker) -> bool:
        self._forget_old()
        return bool(self._asked) and next((each for each in self._idle if each.ready()), None) is taker

    def _oldest_left(self) -> float | None:
        """Return the seconds until the oldest request expires, None if there is none: it goes in time, unasked."""
        return max(0.0, self._asked[0].until - time.monotonic()) if self._asked else None

    def _given(self) -> Asked:
        self._counts["taken"] += 1
        return self._popped()

    def _popped(self) -> Asked:
        asked = self._asked.popleft()
        self._bytes -= asked.size
        return asked

    def _forget_old(self) -> None:
        while self._asked and time.monotonic() >= self._asked[0].until:
            self._popped()
            self._counts["expired"] += 1
