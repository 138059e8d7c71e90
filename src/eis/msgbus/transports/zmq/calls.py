"""What pyzmq does, without its detours: the calls of its compiled half, and plain numbers that those take."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import zmq

__all__ = ["LAST", "MORE", "POLLIN", "backend_calls", "int_option"]

LAST = int(zmq.NOBLOCK)
MORE = int(zmq.SNDMORE | zmq.NOBLOCK)
"""Flags of the last frame of a message and of those before."""

POLLIN = int(zmq.POLLIN)


def backend_calls(socket: zmq.Socket[bytes]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the `send` and `recv` of pyzmq's compiled half, bound to `socket`: a third of the cost of the wrapped."""
    backend = zmq.backend.Socket
    return backend.send.__get__(socket), backend.recv.__get__(socket)


def int_option(socket: zmq.Socket[bytes], number: int) -> Callable[[], int]:
    """Return a function that asks for an option of the socket, such as ZMQ_RCVMORE.

    It goes through ctypes where the libzmq of the wheel can be reached: a third of the cost of pyzmq's `get`. It must
    not be called after the socket was closed.
    """
    try:
        import zmq.backend.cython._zmq as extension

        getsockopt = ctypes.PyDLL(extension.__file__).zmq_getsockopt
    except (ImportError, AttributeError, OSError):  # another build of pyzmq
        return lambda: int(socket.get(number))
    value, size = ctypes.c_int(), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    arguments = ctypes.c_void_p(socket.underlying), ctypes.c_int(number), ctypes.byref(value), ctypes.byref(size)

    def get(
        handle: Any = arguments[0], option: Any = arguments[1], to: Any = arguments[2], n: Any = arguments[3]
    ) -> int:
        if getsockopt(handle, option, to, n):  # a signal interrupted it: pyzmq tries again, and explains what else
            return int(socket.get(number))
        return value.value

    return get
