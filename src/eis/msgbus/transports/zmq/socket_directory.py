"""The directory of socket files: made as it has to be, or refused. Does not know what is served there.

Others may enter a directory, and even list it: each socket file says itself who may connect. What nobody else may do is
to put a file in the place of one of ours; that is what makes a directory too open.
"""

from __future__ import annotations

import os
import stat
import sys

from eis.msgbus._config import Directory
from eis.msgbus.exceptions import InvalidConfig
from eis.msgbus.transports.zmq import accounts
from eis.msgbus.transports.zmq.socket_path import HOW_TO_MAKE, check_directory

__all__ = ["prepare"]

assert sys.platform != "win32"  # for mypy; nothing imports this there

_MODE, _SHARED_MODE = 0o2750, 0o3770  # setgid: files have the directory's group; sticky: each removes its own only
_AS_IT_HAS_TO_BE = (
    "use a directory of mode 2750, or 3770 with shared_directory where several users publish; "
    "allow_open_directory takes it as it is"
)


def prepare(directory: Directory) -> int | None:
    """Make the directory if nothing is there; return the group of its socket files, None for what the system gives.

    Raises:
        InvalidConfig: it cannot be made, is too open, or this user may not make files in it; or there is no such group.
    """
    group = None if directory.group is None else accounts.group_id(directory.group, "socket_group")
    if not os.path.lexists(directory.path):
        _make(directory, group)
    check_directory(directory.path)
    if not os.access(directory.path, os.W_OK | os.X_OK, effective_ids=True):
        what = f"this user has no right to create socket files in {accounts.described(directory.path)}"
        raise InvalidConfig(what, "socket_dir")
    if not directory.allow_open and (problem := _too_open(directory, group)):
        raise InvalidConfig(f"{directory.path} is too open: {problem}; {_AS_IT_HAS_TO_BE}", "socket_dir")
    return group


def _make(directory: Directory, group: int | None) -> None:
    """Make the directory under another name first: whoever sees it sees it as it has to be."""
    parent, name = os.path.split(directory.path)
    new = os.path.join(parent, f".{name}.{os.urandom(4).hex()}")
    try:
        os.mkdir(new, 0o700)
        try:
            _set_rights(new, _SHARED_MODE if directory.shared else _MODE, group)
            os.rename(new, directory.path)
        except BaseException:
            os.rmdir(new)
            raise
    except OSError as error:
        if not os.path.lexists(directory.path):  # else somebody else was faster
            problem = f"cannot make {directory.path}: {error.strerror}; {HOW_TO_MAKE}{directory.path}"
            raise InvalidConfig(problem, "socket_dir") from error


def _set_rights(path: str, mode: int, group: int | None) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if group is not None:
            accounts.give(descriptor, group)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _too_open(directory: Directory, group: int | None) -> str:
    """Return who could put a file in the place of one of ours; empty if nobody can."""
    found = os.stat(directory.path)
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it"
    if found.st_mode & stat.S_IWGRP and not found.st_mode & stat.S_ISVTX:
        return f"its group {accounts.group_name(found.st_gid)} may replace the files of others"
    trusted = {0, os.geteuid()}
    if directory.shared and group in (None, found.st_gid):
        trusted.add(found.st_uid)
    strangers = {found.st_uid, os.lstat(directory.path).st_uid} - trusted
    return "".join(f"it belongs to the user {accounts.user_name(uid)}" for uid in list(strangers)[:1])
