"""What subscribers receive, into a file: a thread that receives for each of them, one that writes, one for the disk.

Does not know how a message stands in the file, nor how the subscribers were made.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eis.msgbus.context import Subscriber
from eis.msgbus.exceptions import MessageBusError, MsgbusException, ReceiveTimeout
from eis.msgbus.recording.backlog import Backlog
from eis.msgbus.recording.message import Recorded, pack, steady_clock
from eis.msgbus.recording.series import Series, Split
from eis.msgbus.recording.writer import Compression, RecordingFile

__all__ = ["Figures", "Recorder"]

_LOOK = 200  # milliseconds in which a thread that receives notices the end
_FLUSH = 1.0  # seconds that a message waits for the file's buffer to fill


@dataclasses.dataclass(frozen=True)
class Figures:
    """Say how far a recording is.

    `bytes` are those of the messages, `size` is the file's, or that of all files. `dropped` came and had no room before
    the file, by topic; `lost` did not come at all, by subscriber (`stats.lost`).
    """

    seconds: float
    messages: int
    bytes: int
    size: int
    dropped: Mapping[str, int]
    lost: Mapping[str, int]

    @property
    def missing(self) -> int:
        """Return how many messages were published and are not in the file."""
        return sum(self.dropped.values()) + sum(self.lost.values())


class Recorder:
    """Record from the beginning of the `with` block until its end; then the file is complete.

    `count` and `max_size` (bytes, of all files) end it by themselves: `ended` is set. `split` makes several files of
    it. `queue_bytes` limits what waits for the disk, of which `keep_free` bytes are left free.

    Raises:
        MessageBusError: at the beginning, the file is there already or cannot be written; at the end, what ended the
            recording.
        MessageBusAuthenticationFailed: at the end; a publisher refused a subscriber.
    """

    def __init__(
        self,
        path: Path,
        subscribers: Sequence[Subscriber[Any]],
        *,
        compression: Compression = Compression.NONE,
        queue_bytes: int = 256 << 20,
        count: int | None = None,
        max_size: int | None = None,
        split: Split = Split(),  # noqa: B008  # it is frozen
        keep_free: int = 64 << 20,
    ) -> None:
        self.ended = threading.Event()
        opened = functools.partial(RecordingFile, compression=compression, keep_free=keep_free)
        self._open = functools.partial(Series, path, split, opened, self._told)
        self._subscribers = subscribers
        self._max_size = max_size
        self._backlog = Backlog(queue_bytes, count)
        self._clock = steady_clock()
        self._messages = self._bytes = self._size = 0
        self._before = Figures(0, 0, 0, 0, {}, {})
        self._problem: Exception | None = None

    def __enter__(self) -> Self:
        self._began = self._clock()
        self._files = self._open()
        work = [functools.partial(self._receive, each) for each in self._subscribers] + [self._write, self._sync]
        self._threads = [threading.Thread(target=self._run, args=[each]) for each in work]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Write what has come, and complete the file."""
        self._backlog.end()
        for thread in self._threads:
            thread.join()
        self._complete()
        if self._problem is not None:
            raise self._problem

    @property
    def figures(self) -> Figures:
        """Return how far it is; it has begun."""
        lost = {subscriber.name: subscriber.stats.lost for subscriber in self._subscribers}
        seconds = (self._clock() - self._began) / 1e9
        return Figures(seconds, self._messages, self._bytes, self._size, dict(self._backlog.dropped), lost)

    def _run(self, work: Callable[[], None]) -> None:
        """Work until the end; an error ends everything."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  # whatever it is, the end of the block raises it
            self._problem = self._problem or error
        if self._problem is not None:
            self._backlog.end()
            self.ended.set()

    def _receive(self, subscriber: Subscriber[Any]) -> None:
        while not self._backlog.ended:
            try:
                envelope = subscriber.recv(timeout=_LOOK)
            except ReceiveTimeout:
                continue
            with envelope:
                self._backlog.put(pack(envelope, self._clock()))

    def _write(self) -> None:
        try:
            self._write_all()
        except BaseException:
            self._backlog.discard()
            raise
        finally:
            self._backlog.end()
            self.ended.set()

    def _write_all(self) -> None:
        flushed = time.monotonic()
        while not self._backlog.drained and (self._max_size is None or self._size < self._max_size):
            if (message := self._backlog.get(_FLUSH)) is not None:
                self._write_one(message)
            if time.monotonic() - flushed > _FLUSH:
                self._files.flush()
                flushed = time.monotonic()
            self._size = self._files.size

    def _write_one(self, message: Recorded) -> None:
        try:
            self._files.write(message)
        except BaseException:
            self._backlog.drop(message)
            raise
        self._messages += 1
        self._bytes += message.size

    def _sync(self) -> None:
        while not self.ended.wait(_FLUSH):
            self._files.sync()

    def _complete(self) -> None:
        """Write the index, unless writing failed: then the file is one that was cut short."""
        if self._problem is None or isinstance(self._problem, MsgbusException):
            try:
                self._size = self._files.finish()
            except OSError as error:
                self._problem = error
        self._files.close()
        if isinstance(self._problem, OSError):
            explained = MessageBusError(f"cannot write {self._files.path}: {self._problem.strerror}: it has no index")
            explained.__cause__ = self._problem
            self._problem = explained
        if self._problem is not None:
            self._files.remove_empty()

    def _told(self) -> dict[str, str]:
        """Return what a file tells of its making: what happened since the one before it."""
        before, self._before = self._before, self.figures
        told = {
            "seconds": f"{self._before.seconds - before.seconds:.3f}",
            "messages": str(self._before.messages - before.messages),
        }
        for name in ("dropped", "lost"):
            counts = Counter(getattr(self._before, name))
            counts.subtract(getattr(before, name))
            told[name] = str(counts.total())
            told |= {f"{name}.{topic}": str(number) for topic, number in counts.items()}
        return told
