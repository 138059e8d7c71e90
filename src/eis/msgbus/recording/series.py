"""One file after another, where a recording is split, or just one. Knows no bus; its two threads are the recorder's.

One thread writes; another sees to the disk, and so never holds the first one up.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from eis.msgbus.recording.message import Recorded
from eis.msgbus.recording.writer import RecordingFile

__all__ = ["Series", "Split"]


@dataclasses.dataclass(frozen=True)
class Split:
    """Say when a file is full: at so many bytes, or so many seconds after its first message; None: never by that."""

    size: int | None = None
    seconds: float | None = None

    def __bool__(self) -> bool:
        """Tell whether a file is ever full."""
        return self.size is not None or self.seconds is not None

    def is_full(self, size: int, nanoseconds: int) -> bool:
        """Tell whether the next message goes into another file."""
        by_size = self.size is not None and size >= self.size
        return by_size or (self.seconds is not None and nanoseconds >= self.seconds * 1e9)


class Series:
    """Write messages to a new file, and to the next one when it is full; each is complete in itself.

    Files of a split recording are numbered: `camera1.mcap` is `camera1-0001.mcap`, `camera1-0002.mcap` and so on.
    `told` gives what a file tells of its making, when it ends.

    Raises:
        MessageBusError: a file is there already, or cannot be written; here, or from `write`.
    """

    def __init__(
        self,
        path: Path,
        split: Split,
        opened: Callable[[Path], RecordingFile],
        told: Callable[[], Mapping[str, str]],
    ) -> None:
        self._path, self._split, self._opened, self._told = path, split, opened, told
        self._number = 0
        self._ended_bytes = 0
        self._first: int | None = None  # the log time of the first message in the file
        self._ended: deque[RecordingFile] = deque()
        self._file = self._next()

    @property
    def path(self) -> Path:
        """Return the file that is written just now."""
        return self._file.path

    @property
    def size(self) -> int:
        """Return how many bytes all files have."""
        return self._ended_bytes + self._file.size

    def write(self, message: Recorded) -> None:
        """Add one message.

        Raises:
            OSError: the disk takes no more.
            MessageBusError: a file is there already, has too little room left, or there are too many topics.
        """
        if self._first is not None and self._split.is_full(self._file.size, message.log_time - self._first):
            self._turn()
        self._file.write(message)
        if self._first is None:
            self._first = message.log_time

    def flush(self) -> None:
        """Hand what was written so far to the system."""
        self._file.flush()

    def sync(self) -> None:
        """Wait until what the system has is on the disk, and close files that have ended; another thread may write."""
        while self._ended:
            self._ended[0].sync()
            self._ended.popleft().close()
        self._file.sync()

    def finish(self) -> int:
        """Complete the file that is written just now; return the size of all files."""
        return self._ended_bytes + self._file.finish(self._told())

    def close(self) -> None:
        """Close all files; without `finish`, the last one was cut short."""
        for file in (*self._ended, self._file):
            file.close()

    def remove_empty(self) -> None:
        """Remove the file that was written just now, if no message is in it."""
        if self._first is None:
            self._file.path.unlink(missing_ok=True)

    def _turn(self) -> None:
        following = self._next()  # first: if that fails, the one before can still be completed
        ended, self._file, self._first = self._file, following, None
        try:
            self._ended_bytes += ended.finish(self._told())
        finally:
            self._ended.append(ended)

    def _next(self) -> RecordingFile:
        self._number += 1
        numbered = f"{self._path.stem}-{self._number:04}{self._path.suffix}"
        return self._opened(self._path.with_name(numbered) if self._split else self._path)
