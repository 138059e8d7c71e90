"""Memory that a publisher lends, so that a frame is made where its subscribers read it. Does not know whose it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from eis.msgbus.exceptions import MessageBusError

__all__ = ["Lent", "Loan", "OwnMemory", "measured"]


class Lent(Protocol):
    """Be memory of a channel: `view` is flat bytes, which stay as long as it or anything made from it is there."""

    view: memoryview


class OwnMemory:
    """Be memory of this process, where a channel has none that it shares."""

    def __init__(self, nbytes: int) -> None:
        self.view = memoryview(bytearray(nbytes))


class Loan:
    """Be memory to fill and to publish once, as one blob: `publisher.publish((metadata, loan))`.

    Where subscribers share the publisher's memory it is not copied. It must not be changed after it was published, and
    is used again when neither the loan nor anything made from it is there any more: take a new one for every frame.
    """

    __slots__ = ("_dtype", "_lent", "_shape")

    def __init__(self, lent: Lent, shape: tuple[int, ...], dtype: Any) -> None:
        self._lent, self._shape, self._dtype = lent, shape, dtype

    @property
    def view(self) -> memoryview:
        """Return the memory as flat bytes, to be written to."""
        return self._lent.view

    @property
    def array(self) -> Any:
        """Return the memory as a NumPy array of the shape and type that were asked for."""
        import numpy as np

        return np.frombuffer(self._lent.view, dtype=self._dtype).reshape(self._shape)

    def __len__(self) -> int:
        """Return the number of bytes."""
        return self._lent.view.nbytes

    def __repr__(self) -> str:
        return f"<Loan of {len(self)} bytes>"


def measured(size: int | Sequence[int], dtype: Any) -> tuple[tuple[int, ...], int]:
    """Return the shape, and how many bytes an array of it takes.

    Raises:
        MessageBusError: it is none.
    """
    if type(size) is int and size >= 0 and dtype == "uint8":
        return (size,), size
    shape: tuple[Any, ...] = tuple(size) if isinstance(size, Sequence) else (size,)
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise MessageBusError(f"loan: expected a number of bytes or a shape, got {size!r}")
    return shape, math.prod(shape) * _item_bytes(dtype)


def _item_bytes(dtype: Any) -> int:
    if dtype == "uint8":
        return 1  # without NumPy
    import numpy as np

    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise MessageBusError(f"loan: expected a type of NumPy, got {dtype!r}") from error
    if found.hasobject:
        raise MessageBusError("loan: expected plain values, got Python objects")
    return int(found.itemsize)
