"""How far the streams of a subscription have come: what was lost, restarted, and how long it took. Reads no socket."""

from __future__ import annotations

import functools
import time
from collections import deque
from pathlib import Path

from eis.msgbus._wire.native import LONGEST_NAME, Hello, Stamp, split_prefix

__all__ = ["Stream", "Streams", "machine"]

_RECENT = 1000  # latencies
_MOST = 10_000  # topics of a publisher that makes up names
_EPOCHS = 64  # of the last publishers


class Stream:
    """Be one topic of one publisher, in the form of its last message.

    `due` is the number of its next message, 0 where that is not known. Messages begin with `prefix`, of `length` bytes.
    """

    __slots__ = ("due", "epoch", "form", "length", "name", "prefix")

    def __init__(self, name: str, epoch: int, due: int = 0, form: bytes = b"", prefix: bytes = b"") -> None:
        self.name, self.epoch, self.due = name, epoch, due
        self.form, self.prefix, self.length = form, prefix, len(prefix)


class Streams:
    """Count what was lost and restarted.

    `lost` are messages that were published, in the publisher's count, and did not come; those of a publisher that ended
    before its next message came are not known. `clock` and `sent` say how to take the time: what to call, and which
    field of a stamp to compare it with. `met` says that a publisher of native streams was there.
    """

    def __init__(self) -> None:
        self.met = False
        self.lost = self.restarts = 0
        self.latencies: deque[int] = deque(maxlen=_RECENT)
        self.clock, self.sent = time.time_ns, 1
        self._topics: dict[str, Stream] = {}
        self._known: dict[bytes, Stream] = {}
        self._epochs: deque[int] = deque(maxlen=_EPOCHS)
        self._greeted = 0  # the epoch of the last Hello

    def greeted(self, hello: Hello) -> None:
        """Take notice of how far the publisher is."""
        here = hello.machine != "" and hello.machine == machine()
        self.clock, self.sent = (time.monotonic_ns, 2) if here else (time.time_ns, 1)
        for name, sequence in hello.sequences.items():
            if len(name) > LONGEST_NAME:
                continue
            stream = self._stream(name, hello.epoch)
            if stream.due:
                self.lost += max(0, sequence + 1 - stream.due)
            stream.due = max(stream.due, sequence + 1)
        self.met, self._greeted = True, hello.epoch

    def find(self, frame: bytes) -> Stream | None:
        """Return the stream of a message; None: it is none that we know."""
        if (parts := split_prefix(frame)) is None:
            return None
        form, name, epoch, length = parts
        prefix = frame[:length]
        if (stream := self._known.get(prefix)) is None:
            stream = self._stream(name, epoch)
            if len(self._known) < _MOST:
                self._known[prefix] = stream
        stream.form, stream.prefix, stream.length = form, prefix, length
        return stream

    def take(self, stream: Stream, stamp: Stamp) -> int:
        """Take notice of a message; return its latency."""
        self.met = True
        if stamp[0] == stream.due:
            stream.due += 1
        else:
            self.jump(stream, stamp[0])
        latency = self.clock() - stamp[self.sent]
        self.latencies.append(latency)
        return latency

    def jump(self, stream: Stream, sequence: int) -> None:
        """Take notice of a message, whether it is the one that was due or not."""
        if stream.due:
            self.lost += max(0, sequence - stream.due)
        stream.due = max(stream.due, sequence + 1)

    def _stream(self, name: str, epoch: int) -> Stream:
        """Return the stream of a topic; of a publisher that began anew, a new one."""
        stream = self._topics.get(name)
        if stream is None or stream.epoch != epoch:
            if stream is not None and epoch not in self._epochs:
                self.restarts += 1
            stream = Stream(name, epoch, 1 if epoch == self._greeted else 0)
            if len(self._topics) < _MOST:
                self._topics[name] = stream
                self._epochs.append(epoch)
        return stream


@functools.cache
def machine() -> str:
    """Return what is the same for all programs that have the same CLOCK_MONOTONIC; empty: the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return ""
    return boot.strip().decode()  # needs no file of Python, which who changed the user may not be able to read
