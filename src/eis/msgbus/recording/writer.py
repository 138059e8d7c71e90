"""One MCAP file that is written: messages in, channels and schemas as needed. Knows no bus and no threads.

Each topic has a channel of JSON for its metadata, and one for each place and kind of its blobs. What belongs to one
message stands together and has one log time, which no other message has. Which topic and which blob of it a channel
is, stands in the channel's own metadata.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import msgspec
from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import CompressionType, Writer
from mcap_protobuf.schema import register_schema

from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.recording.blobs import Kind
from eis.msgbus.recording.message import Part, Recorded
from eis.msgbus.recording.schema import schema_of

__all__ = ["BLOB", "TOPIC", "Compression", "RecordingFile"]

TOPIC = "msgbus.topic"
"""Of a channel's metadata: the topic of the bus that it belongs to."""
BLOB = "msgbus.blob"
"""Likewise: which blob of a message it holds, from 0; the channel of the metadata has no such entry."""

_MOST_CHANNELS = 65535  # their numbers have 16 bits
_LOOK_EVERY = 16 << 20  # bytes between two looks at what is free on the disk


class Compression(StrEnum):
    """Say how a file is compressed."""

    NONE = "none"
    LZ4 = "lz4"
    ZSTD = "zstd"


def _guarded(path: str, flags: int) -> int:
    """Open a file that is the owner's and the group's alone, as the sockets are from which its frames came."""
    return os.open(path, flags, 0o640)


class RecordingFile:
    """Write messages to a new file.

    Raises:
        MessageBusError: the file is there already, or cannot be written.
    """

    def __init__(self, path: Path, compression: Compression, keep_free: int) -> None:
        self.path = path
        self._keep_free = keep_free
        self._looked_at = 0
        try:
            self._check_room()
            self._stream = open(path, "xb", opener=_guarded)  # noqa: SIM115  # `close` closes it
        except FileExistsError:
            raise MessageBusError(f"{path} is there already, and is not written over") from None
        except OSError as error:
            raise MessageBusError(f"cannot write {path}: {error.strerror}") from error
        self._channels: dict[tuple[str, int | None, Kind | None], int] = {}
        self._kinds: dict[Kind, int] = {}
        self._writer = Writer(self._stream, compression=CompressionType[compression.name])
        self._writer.start()

    @property
    def size(self) -> int:
        """Return how many bytes the file has."""
        return self._stream.tell()

    def write(self, message: Recorded) -> None:
        """Add one message.

        Raises:
            OSError: the disk takes no more.
            MessageBusError: it has too little room left, or there are too many topics.
        """
        if self.size - self._looked_at >= _LOOK_EVERY:
            self._looked_at = self.size
            self._check_room()
        for part in message.parts:
            channel = self._channels.get((message.topic, part.number, part.kind)) or self._opened(message.topic, part)
            self._writer.add_message(
                channel, message.log_time, part.data, message.publish_time, sequence=message.sequence & 0xFFFFFFFF
            )

    def flush(self) -> None:
        """Hand what was written so far to the system, so that it is there if this process dies."""
        self._writer.flush()  # type: ignore[no-untyped-call]  # the library's own omission

    def sync(self) -> None:
        """Wait until what the system has is on the disk, and let it forget that; another thread may write meanwhile.

        Without it the system holds gigabytes back, and then stops whoever writes, for seconds; and memory in which
        other programs' files were is taken for frames that nobody reads.
        """
        if sys.platform == "win32":
            return
        os.fdatasync(self._stream.fileno())
        os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def finish(self, told: Mapping[str, str]) -> int:
        """Write what is to be told of the recording, and the index; return the size of the file."""
        self._writer.add_metadata("msgbus.recording", dict(told))
        self._writer.finish()  # type: ignore[no-untyped-call]  # likewise
        self._stream.flush()
        return self.size

    def close(self) -> None:
        """Close; without `finish`, the file is one that was cut short."""
        with contextlib.suppress(OSError):  # what is not written yet has no room either
            self._stream.close()

    def _opened(self, topic: str, part: Part) -> int:
        if len(self._channels) == _MOST_CHANNELS:
            raise MessageBusError(f"{self.path}: expected at most {_MOST_CHANNELS} channels, got more topics than fit")
        if part.number is None or part.kind is None:
            channel = self._channel_of_metadata(topic, part.data)
        else:
            channel = self._channel_of_blobs(topic, part.number, part.kind)
        self._channels[topic, part.number, part.kind] = channel
        return channel

    def _channel_of_metadata(self, topic: str, first: bytes) -> int:
        schema = msgspec.json.encode(schema_of(msgspec.json.decode(first)))
        number = self._writer.register_schema(topic, SchemaEncoding.JSONSchema, schema)
        return self._writer.register_channel(topic, MessageEncoding.JSON, number, {TOPIC: topic})

    def _channel_of_blobs(self, topic: str, index: int, kind: Kind) -> int:
        if kind not in self._kinds:
            self._kinds[kind] = register_schema(self._writer, kind)
        name = "image" if kind.DESCRIPTOR.full_name.startswith("foxglove.") else "blob"
        return self._writer.register_channel(
            f"{topic}/{name}{index or ''}",
            MessageEncoding.Protobuf,
            self._kinds[kind],
            {TOPIC: topic, BLOB: str(index)},
        )

    def _check_room(self) -> None:
        """Keep some room on the disk: for the index, and for whoever else writes there."""
        free = shutil.disk_usage(self.path.parent).free
        if free < self._keep_free:
            raise MessageBusError(
                f"{self.path}: the disk is full: {free >> 20} MiB are free, and {self._keep_free >> 20} are to stay so"
            )
