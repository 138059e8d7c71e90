"""One MCAP file that is read: its messages, as they were received. Knows no bus.

A file that was cut short, because its recorder was killed or the disk was full, is read as far as it goes, but for its
last message: nobody knows whether all of it is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, get_chunk_data_stream
from mcap.summary import Summary
from mcap.writer import MCAP0_MAGIC

from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.recording.blobs import kind_named
from eis.msgbus.recording.message import Part, Recorded
from eis.msgbus.recording.writer import BLOB, TOPIC

__all__ = ["Recording"]

_LARGEST = 512 << 20
"""Bytes of one record, and of one chunk when it is unpacked: far above what a recorder writes."""
_MOST_PARTS = 256
"""Of one message: metadata and 255 blobs, as on the wire."""
_READERS: dict[int, Callable[[ReadDataStream], McapRecord]] = {Opcode.CHANNEL: Channel.read, Opcode.SCHEMA: Schema.read}


class Recording:
    """Be a file of `msgbus record`.

    `complete` says whether it has its end. `topics` are those of the bus, in the order in which they first came.
    `span` is the first and the last log time; None where the file has no index.

    Raises:
        MessageBusError: the file cannot be read, or is another's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explaining():
            self.complete = self._is_complete()
            summary = self._summary() if self.complete else None
            channels = self._channels() if summary is None else summary.channels.values()
            self.topics = tuple(dict.fromkeys(each.metadata[TOPIC] for each in channels if TOPIC in each.metadata))
        if not self.topics:
            raise MessageBusError(f"{path}: expected messages that `msgbus record` wrote, found none")
        times = None if summary is None else summary.statistics
        self.span = None if times is None else (times.message_start_time, times.message_end_time)

    def messages(self) -> Iterator[Recorded]:
        """Yield every message, in the order in which they were written.

        Raises:
            MessageBusError: the file is damaged.
        """
        with self._explaining():
            together: list[Part] = []
            last = None
            for head, part in self._parts():
                if together and head != last:
                    assert last is not None
                    yield last._replace(parts=_ordered(together))
                    together = []
                last = head
                together.append(part)
                if len(together) > _MOST_PARTS:
                    raise ValueError(f"expected messages of at most {_MOST_PARTS} parts, got more")
            if last is not None and self.complete:
                yield last._replace(parts=_ordered(together))

    def _parts(self) -> Iterator[tuple[Recorded, Part]]:
        """Yield each part, with what the parts of one message have in common."""
        channels: dict[int, Channel] = {}
        schemas: dict[int, Schema] = {}
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message) and TOPIC in channels[record.channel_id].metadata:
                channel = channels[record.channel_id]
                times = record.log_time, record.publish_time, record.sequence
                yield Recorded(channel.metadata[TOPIC], (), *times), _part(record, channel, schemas)

    def _records(self) -> Iterator[McapRecord]:
        with self.path.open("rb") as file:
            try:
                for record in StreamReader(file, emit_chunks=True, record_size_limit=_LARGEST).records:
                    if isinstance(record, Chunk):
                        yield from _records_of(_expanded(record))
                    else:
                        yield record
            except (EndOfFile, struct.error):
                if self.complete:
                    raise

    def _is_complete(self) -> bool:
        with self.path.open("rb") as file:
            if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                raise MessageBusError(f"{self.path}: expected an MCAP file, got something else")
            file.seek(-len(MCAP0_MAGIC), os.SEEK_END)
            return file.tell() > 0 and file.read() == MCAP0_MAGIC

    def _summary(self) -> Summary | None:
        with self.path.open("rb") as file:
            return SeekingReader(file).get_summary()

    def _channels(self) -> Iterator[Channel]:
        """Yield the channels of a file without an index: all of it is read."""
        return (record for record in self._records() if isinstance(record, Channel))

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except MessageBusError:
            raise
        except OSError as error:
            raise MessageBusError(f"cannot read {self.path}: {error.strerror}") from error
        except Exception as error:  # a damaged file makes the library raise anything
            raise MessageBusError(f"{self.path} is damaged: {type(error).__name__} {error}") from error


def _expanded(chunk: Chunk) -> Chunk:
    """Return a chunk without compression; what a stranger has packed becomes no larger than he says."""
    if chunk.uncompressed_size > _LARGEST:
        raise ValueError(f"expected chunks of at most {_LARGEST} bytes, got {chunk.uncompressed_size}")
    if chunk.compression == "lz4":
        data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=chunk.uncompressed_size)
    elif chunk.compression == "zstd":
        data = zstandard.ZstdDecompressor().stream_reader(chunk.data).read(chunk.uncompressed_size)
    else:
        return chunk
    return dataclasses.replace(chunk, compression="", data=data)


def _records_of(chunk: Chunk) -> Iterator[McapRecord]:
    """Yield the records of a chunk, one by one: all of them at once take many times its size."""
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    while stream.count < size:
        opcode, length = stream.read1(), stream.read8()
        if opcode == Opcode.MESSAGE:
            yield Message.read(stream, length)
        elif opcode in _READERS:
            yield _READERS[opcode](stream)
        else:
            stream.read(length)


def _part(record: Message, channel: Channel, schemas: dict[int, Schema]) -> Part:
    if BLOB not in channel.metadata:
        return Part(None, None, record.data)
    return Part(int(channel.metadata[BLOB]), kind_named(schemas[channel.schema_id].name), record.data)


def _ordered(parts: list[Part]) -> tuple[Part, ...]:
    """Return metadata first, then the blobs: tools that rewrite MCAP files may have changed their order."""
    return tuple(sorted(parts, key=lambda part: -1 if part.number is None else part.number))
