"""What a message is: a name, metadata and blobs. No bytes of the wire, no sockets, no clocks."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self

import msgspec

if TYPE_CHECKING:  # Python has the default from 3.13 on, type checkers have it always
    from typing_extensions import TypeVar

    M = TypeVar("M", default=Any)
else:
    from typing import TypeVar

    M = TypeVar("M")

__all__ = ["Blob", "M", "MsgEnvelope"]

Blob = Any
"""Anything with the buffer protocol: bytes, bytearray, memoryview, a NumPy array. C-contiguous."""


class _Fields(msgspec.Struct, Generic[M]):
    """Hold the fields of an envelope: making a msgspec Struct takes half the time of an `__init__` of Python."""

    meta_data: M = None  # type: ignore[assignment]  # no metadata is None for every M
    blob: Any = None
    name: str | None = None
    _stamp: tuple[int, ...] | None = None
    _latency: int = 0
    _release: Callable[[], None] | None = None


_blob = _Fields.blob  # the descriptor, which the property of the same name hides


class MsgEnvelope(_Fields[M]):
    """Hold one message: `name` of its topic or service, `meta_data`, and blobs.

    `meta_data` is a dict (None for a message that is one blob and nothing else), or an instance of the type that
    the subscriber was made with. `blob` is None, the bytes of one blob, or a list of bytes; the copy is made when it
    is first asked for. `view` and `views` give the same bytes without a copy.
    """

    # The blobs.

    @property  # type: ignore[misc]  # the field is still there, beneath
    def blob(self) -> Any:
        """Return None, bytes, or a list of bytes where there are several blobs."""
        blob = _blob.__get__(self)
        if blob is not None and type(blob) is not bytes:
            _blob.__set__(self, blob := _copied(blob))
        return blob

    @blob.setter
    def blob(self, blob: Blob | Sequence[Blob] | None) -> None:
        _blob.__set__(self, blob)

    @property
    def view(self) -> memoryview | None:
        """Return a read-only view of the first blob, flat bytes without a copy; None where there is no blob."""
        for part in self._parts():
            return _view(part)
        return None

    @property
    def views(self) -> tuple[memoryview, ...]:
        """Return a read-only view of every blob, flat bytes without a copy."""
        return tuple(_view(part) for part in self._parts())

    def _parts(self) -> Sequence[Blob]:
        blob = _blob.__get__(self)
        if blob is None:
            return ()
        return blob if isinstance(blob, list | tuple) else (blob,)

    def release(self) -> None:
        """Let go of the blobs now. A frame in shared memory is in use as long as anything made from it is there.

        `with subscriber.recv() as envelope:` does it at the end. Arrays that were made from `view` stay valid.
        """
        release, self._release = self._release, None
        _blob.__set__(self, None)
        if release is not None:
            release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    # Of a native stream; None where the publisher, or the subscriber, is not of this library, and of requests.

    @property
    def sequence(self) -> int | None:
        """Return the number of the message in its topic: one more than that of the message before."""
        return None if self._stamp is None else self._stamp[0]

    @property
    def sent_at(self) -> float | None:
        """Return when it was published, in seconds of `time.time()` on the publisher's machine."""
        return None if self._stamp is None else self._stamp[1] / 1e9

    @property
    def latency(self) -> float | None:
        """Return the seconds from `publish` until it was taken out of the socket.

        Between two machines it is as right as their clocks agree.
        """
        return None if self._stamp is None else self._latency / 1e9

    @property
    def subscribers(self) -> int | None:
        """Return how many subscriptions to it there were when it was published."""
        return None if self._stamp is None else self._stamp[6]

    # What the original's programs call.

    def get_name(self) -> str | None:
        """Return `name`."""
        return self.name

    def get_meta_data(self) -> M:
        """Return `meta_data`."""
        return self.meta_data

    def get_blob(self) -> Any:
        """Return `blob`."""
        return self.blob

    # A pair of metadata and blob.

    def __iter__(self) -> Iterator[Any]:
        yield self.meta_data
        yield self.blob

    def __getitem__(self, index: Any) -> Any:
        """Return metadata for 0, the blob for 1, or a slice of both."""
        if index in (0, -2):
            return self.meta_data  # without the blob's copy
        if isinstance(index, str):
            raise TypeError(f"expected 0, 1 or a slice, got {index!r}: metadata are in meta_data")
        return (self.meta_data, self.blob)[index]

    def __setitem__(self, key: str, value: Any) -> None:
        """Set one key of the metadata."""
        if self.meta_data is None:
            self.meta_data = {}  # type: ignore[assignment]  # metadata that is set by key is a dict
        self.meta_data[key] = value  # type: ignore[index]  # the dict's own error where it is none

    def __bytes__(self) -> bytes:
        """Return the one blob of a message without metadata.

        Raises:
            TypeError: there is metadata, or not exactly one blob.
        """
        if self.meta_data is not None or not isinstance(self.blob, bytes):
            raise TypeError("only a message of one blob and no metadata converts to bytes")
        return self.blob

    def __eq__(self, other: object) -> bool:
        """Compare with an envelope (names apart), a tuple, a dict (metadata only), bytes (blob only)."""
        if isinstance(other, MsgEnvelope):
            return bool(self.meta_data == other.meta_data and self.blob == other.blob)
        if isinstance(other, tuple):
            return (self.meta_data, self.blob) == other
        if isinstance(other, dict):
            return bool(self.meta_data == other)
        if isinstance(other, bytes):
            return bool(self.blob == other)
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        """Be the opposite of `==`: a msgspec Struct has a comparison of its own."""
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # an envelope can change

    def __reduce__(self) -> tuple[Any, ...]:
        return MsgEnvelope, (self.meta_data, self.blob, self.name, self._stamp, self._latency)

    def __repr__(self) -> str:
        sizes = ", ".join(_size(part) for part in self._parts())
        return (
            f"MsgEnvelope(name={self.name!r}, meta_data={reprlib.repr(self.meta_data)}, blob=<{sizes or 'no'} bytes>)"
        )


def _copied(blob: Any) -> bytes | list[bytes] | None:
    if not isinstance(blob, list | tuple):
        return bytes(memoryview(blob))
    copies = [part if type(part) is bytes else bytes(memoryview(part)) for part in blob]
    return copies if len(copies) > 1 else copies[0] if copies else None


def _view(blob: Blob) -> memoryview:
    view = memoryview(blob)
    return (view.cast("B") if view.nbytes else memoryview(b"")).toreadonly()  # a shape with a zero has no cast


def _size(blob: Blob) -> str:
    try:
        return str(memoryview(blob).nbytes)
    except (TypeError, ValueError):  # no buffer: publishing it would say so
        return "?"
