"""A transport that leaves every message as a file, to be looked at, copied or kept. For POSIX systems.

Each publisher and subscriber has a directory below `spool_dir`. The messages for it are files there, and its bell is a
FIFO: whoever has news for it writes a byte there, and so its descriptor becomes readable.
"""

import itertools
import os
import shutil
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote

import msgspec

from eis.msgbus import InvalidConfig
from eis.msgbus.transports import Channel, Closed, Counts, Frames, LiveStatus, Publishing

QUEUE = 1000  # files that wait in a directory before further messages for it are dropped
BATCH = 100  # messages that one call of receive() takes at most


class SpoolTransport:
    def __init__(self, config: Mapping[str, Any]) -> None:
        if not isinstance(config.get("spool_dir"), str):
            raise InvalidConfig("expected the directory of the messages", "spool_dir")
        self._config = dict(config)
        self._root = Path(config["spool_dir"])
        self._channels: list[SpoolChannel] = []

    def publisher(self, topic: str) -> Publishing:
        return self._open("pub", topic)

    def subscriber(self, topic: str, *, metadata_only: bool = False) -> Channel:  # noqa: ARG002  # a file is read whole
        return self._open("sub", topic)

    def service(self, name: str) -> NoReturn:
        raise InvalidConfig(f"spool carries topics and no services, got service {name}", "type")

    def requester(self, name: str) -> NoReturn:
        self.service(name)

    def reload(self, config: Mapping[str, Any]) -> None:
        if config != self._config:
            raise InvalidConfig("expected the same configuration: spool has no keys and lists", "spool_dir")

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def _open(self, role: str, name: str) -> "SpoolChannel":
        self._channels.append(channel := SpoolChannel(self._root, role, name))
        return channel


class SpoolChannel:
    def __init__(self, root: Path, role: str, name: str) -> None:
        self._root, self._name, self._id = root, name, uuid.uuid4().hex
        self.status = LiveStatus("listening" if role == "pub" else "connected")
        self._lock, self._closed = threading.RLock(), False
        self._serial = itertools.count()
        self._sent = self._received = self._dropped = 0
        hidden = root / f".{self._id}"
        hidden.mkdir(parents=True)
        os.mkfifo(hidden / "bell")
        self._bell = os.open(hidden / "bell", os.O_RDWR | os.O_NONBLOCK)
        self._home = hidden.rename(root / f"{role},{quote(name, safe='')},{self._id}")  # now others see it, complete
        self._tell_publishers()

    def send(self, frames: Frames) -> None:
        data = msgspec.msgpack.encode([bytes(frame) for frame in frames])
        with self._lock:
            self._check_open()
            self._sent += 1
            reached = [self._leave(home, data) for home in self._subscribers()]
            self._dropped += not all(reached)

    def receive(self) -> Sequence[Frames]:
        with self._lock:
            self._check_open()
            self._silence()  # before looking: what comes after the look rings again
            files = sorted(path for path in self._home.iterdir() if path.suffix == ".msg")[:BATCH]
            messages = [_frames(path.read_bytes()) for path in files]
            for path in files:
                path.unlink()
            self._received += len(messages)
            if len(messages) == BATCH:
                self.wake()  # there may be more
            return messages

    def subscribers(self) -> int:
        with self._lock:
            self._check_open()
            self._silence()
            return len(self._subscribers())

    def lend(self, nbytes: int) -> None:
        """Lend nothing: whoever makes a frame in memory of his own loses no more than a copy."""

    def filenos(self) -> tuple[int, ...]:
        return (self._bell,)

    def wake(self) -> None:
        _ring(self._home)

    def counts(self) -> Counts:
        return Counts(sent=self._sent, received=self._received, dropped=self._dropped)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._bell)
                shutil.rmtree(self._home, ignore_errors=True)
                self._tell_publishers()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("closed")

    def _subscribers(self) -> list[Path]:
        return [home for home in self._root.glob("sub,*") if self._name.startswith(unquote(home.name.split(",")[1]))]

    def _leave(self, home: Path, data: bytes) -> bool:
        """Put a message into a subscriber's directory; tell whether there was room."""
        with suppress(FileNotFoundError):  # it was closed meanwhile
            if sum(1 for _ in home.iterdir()) > QUEUE:
                return False
            order = f"{time.time_ns():020}-{next(self._serial):010}-{self._id}"
            (home / order).write_bytes(data)
            (home / order).rename(home / f"{order}.msg")  # complete, so that nobody reads half of it
            _ring(home)
        return True

    def _tell_publishers(self) -> None:
        for home in self._root.glob("pub,*"):
            _ring(home)

    def _silence(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._bell, 65536)


def _ring(home: Path) -> None:
    try:
        bell = os.open(home / "bell", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # nobody holds it open: the program has died without closing
        shutil.rmtree(home, ignore_errors=True)
        return
    with suppress(BrokenPipeError), os.fdopen(bell, "wb", buffering=0) as fifo:  # it was closed meanwhile
        fifo.write(b"!")  # nothing is written where the FIFO is full of rings already


def _frames(data: bytes) -> Frames:
    try:
        return msgspec.msgpack.decode(data, type=list[bytes])
    except msgspec.DecodeError:  # somebody else's file
        return []  # which the bus refuses, counts and logs, as whatever breaks the rules
