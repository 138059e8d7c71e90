"""Socket files that only their group reaches. Does not know who connects, nor what is sent.

libzmq would create the file with the rights that the umask leaves, replace whatever lies at the path, and leave the
file behind. Here the file is made with its rights before anybody can connect, under a lock that the kernel frees when
the process dies, and libzmq is handed the listening descriptor (ZMQ_USE_FD).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys

from eis.msgbus.exceptions import AddressInUse, MessageBusError

__all__ = ["SocketFile"]

assert sys.platform != "win32"  # for mypy; nothing imports this there

MODE = 0o660  # connecting needs the right to write
_BACKLOG = 100


class SocketFile:
    """Be the socket file at `path`, listening, until it is closed.

    Raises:
        AddressInUse: a live program listens at the path.
        MessageBusError: something that is no socket lies there, or the file cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._owner = os.getpid()
        self._lock = _lock(path)
        try:
            self._listener = _listen(path)
        except BaseException:
            _unlock(path, self._lock)
            raise
        self._inode = os.stat(path).st_ino

    def detach(self) -> int:
        """Hand the listening descriptor over to the caller."""
        return self._listener.detach()

    def close(self) -> None:
        """Remove the file if it is still ours, and free the path. In a forked child, leave it to the parent."""
        self._listener.close()
        if os.getpid() != self._owner:
            return
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        _unlock(self.path, self._lock)


def _lock(path: str) -> int:
    """Return a descriptor that holds the lock of `path`, which the kernel frees when the process dies."""
    name = _lock_name(path)
    while True:
        descriptor = _open_lock(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(name, descriptor):  # else its last holder has removed it meanwhile
                return descriptor
        except OSError as error:
            os.close(descriptor)
            raise _in_use(path) from error
        os.close(descriptor)


def _unlock(path: str, descriptor: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_lock_name(path))
    os.close(descriptor)


def _lock_name(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.lock")


def _open_lock(name: str) -> int:
    try:
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise MessageBusError(f"cannot lock {name}: {error.strerror}") from error


def _is_at(name: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(name), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _in_use(path: str) -> AddressInUse:
    return AddressInUse(f"another publisher or service listens at {path}")


def _listen(path: str) -> socket.socket:
    """Bind with the rights set before: there is no moment at which others could connect."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _clear(path)
        os.fchmod(listener.fileno(), MODE)  # the rights that bind gives the file, less the umask: never more
        listener.bind(path)
        os.chmod(path, MODE)
        listener.listen(_BACKLOG)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError) and not isinstance(error, MessageBusError):
            raise MessageBusError(f"cannot listen at {path}: {error.strerror}") from error
        raise
    return listener


def _clear(path: str) -> None:
    """Remove the socket file that a killed program left behind.

    Raises:
        AddressInUse: somebody listens there who knows nothing of the lock, such as the original library.
        MessageBusError: it is no socket.
    """
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise MessageBusError(f"expected a socket file or nothing at {path}, found something else")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
        if caller.connect_ex(path) in (0, errno.EAGAIN):
            raise _in_use(path)
    os.unlink(path)
