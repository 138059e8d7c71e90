"""Socket files that only their group reaches. Does not know who connects, nor what is sent.

libzmq would create the file with the rights that the umask leaves, replace whatever lies at the path, and leave the
file behind. Here the file is made for its owner alone, gets its group and then its rights, and is renamed to its path
when it listens: there is no moment for outsiders, and none in which those who may come in find a closed door. A lock
that the kernel frees when the process dies keeps others off; libzmq is handed the listening descriptor (ZMQ_USE_FD).
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
from eis.msgbus.transports.zmq import accounts
from eis.msgbus.transports.zmq.socket_path import MAX_PATH

__all__ = ["SocketFile"]

assert sys.platform != "win32"  # for mypy; nothing imports this there

MODE = 0o660  # connecting needs the right to write
_MINE = 0o600
_BACKLOG = 100


class SocketFile:
    """Be the socket file at `path`, of `group` if there is one, listening, until it is closed; `kind` is of the socket.

    Raises:
        AddressInUse: a live program listens at the path.
        InvalidConfig: this user is not in the group.
        MessageBusError: something that is no socket lies there, or the file cannot be made.
    """

    def __init__(self, path: str, group: int | None = None, kind: int = socket.SOCK_STREAM) -> None:
        self.path = path
        self._group, self._kind = group, kind
        self._owner = os.getpid()
        self._lock = _lock(path)
        try:
            self._listener = _listen(path, group, kind)
        except BaseException:
            _unlock(path, self._lock)
            raise
        self._inode = os.stat(path).st_ino

    def renew(self) -> None:
        """Listen anew, after the descriptor that was handed over is closed; meanwhile the lock keeps the path ours."""
        self._listener = _listen(self.path, self._group, self._kind)
        self._inode = os.stat(self.path).st_ino

    def detach(self) -> int:
        """Hand the listening descriptor over to the caller."""
        return self._listener.detach()

    def let_go(self) -> tuple[str, str]:
        """Close the forked child's copies; return the paths to which the listening socket may have been bound."""
        self._listener.close()
        os.close(self._lock)
        return self.path, _beside(self.path)

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
        descriptor = _open_lock(name, path)
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


def _opened_lock(name: str) -> int:
    """Open the lock, or make it; not in one go: in a sticky directory the kernel refuses that for another's file."""
    how = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(name, how)
    except FileNotFoundError:
        descriptor = os.open(name, how | os.O_CREAT, 0o600)
    if os.geteuid() not in (0, os.fstat(descriptor).st_uid):  # could be held at any time, and not be removed
        os.close(descriptor)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    return descriptor


def _open_lock(name: str, path: str) -> int:
    """Open the lock, or say whose it is."""
    try:
        return _opened_lock(name)
    except OSError as error:
        if isinstance(error, PermissionError) and os.path.lexists(name):  # another user's, in a shared directory
            _is_stale(path)
            what = f"another user has used {path}, and only that one may again, or remove {accounts.described(name)}"
            raise MessageBusError(what) from error
        raise MessageBusError(f"cannot lock {name}: {error.strerror}") from error


def _is_at(name: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(name), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _in_use(path: str) -> AddressInUse:
    return AddressInUse(f"another publisher or service listens at {path}")


def _listen(path: str, group: int | None, kind: int) -> socket.socket:
    """Bind beside the path, and move it there when it is ready; or at the path itself if that is as long as can be."""
    at = _beside(path)
    listener = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
    try:
        _is_stale(path)
        _clear(at)
        _bind(listener, at, group)
        os.rename(at, path)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError) and not isinstance(error, MessageBusError):
            raise MessageBusError(f"cannot listen at {path}: {error.strerror}") from error
        raise
    return listener


def _beside(path: str) -> str:
    directory, name = os.path.split(path)
    at = os.path.join(directory, f".{name}.new")
    return at if len(os.fsencode(at)) <= MAX_PATH else path


def _bind(listener: socket.socket, path: str, group: int | None) -> None:
    os.fchmod(listener.fileno(), _MINE)  # bind gives the file these rights, less the umask
    listener.bind(path)
    try:
        if group is not None:
            accounts.give(path, group)
        os.chmod(path, MODE)
        listener.listen(_BACKLOG)
    except BaseException:
        os.unlink(path)
        raise


def _clear(path: str) -> None:
    """Remove the socket file that a killed program left behind."""
    if _is_stale(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _is_stale(path: str) -> bool:
    """Tell whether a killed program left a socket file behind; False if nothing is there.

    Raises:
        AddressInUse: somebody listens there who knows nothing of the lock, such as the original library.
        MessageBusError: it is no socket, or nobody knows.
    """
    if not os.path.lexists(path):
        return False
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise MessageBusError(f"expected a socket file or nothing at {path}, found something else")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
        answer = caller.connect_ex(path)
    if answer in (0, errno.EAGAIN, errno.EPROTOTYPE):  # the last: at a socket of another kind
        raise _in_use(path)
    if answer == errno.EACCES:
        raise MessageBusError(f"this user may not ask whether anybody listens at {accounts.described(path)}")
    return True
