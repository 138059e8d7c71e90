"""Why this user may not connect to a socket file, and what to do. Looks at rights only: a file may be there in vain."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from eis.msgbus.transports.zmq import accounts

__all__ = ["forbidden"]

assert sys.platform != "win32"  # for mypy; nothing imports this there


def forbidden(path: str) -> str:
    """Return why this user may not connect to the socket file; empty where it may, or where there is none yet."""
    try:
        os.stat(path)
    except PermissionError:
        closed = (str(each) for each in reversed(Path(path).parents) if not _may(str(each), os.X_OK))
        return next((_told("enter", each, stat.S_IXGRP) for each in closed), "")
    except OSError:
        return ""
    return "" if _may(path, os.W_OK) else _told("connect to", path, stat.S_IWGRP)


def _may(path: str, right: int) -> bool:
    return os.access(path, right, effective_ids=True)


def _told(what: str, path: str, right: int) -> str:
    """Say what is not allowed, whose it is, and which group would help."""
    try:
        found, described = os.stat(path), accounts.described(path)
    except OSError:  # it is gone meanwhile
        return ""
    me = accounts.user_name(os.geteuid())
    problem = f"the user {me} (uid {os.geteuid()}) has no right to {what} {described}"
    if found.st_mode & right and found.st_gid not in {0, os.getegid(), *os.getgroups()}:
        group = accounts.group_name(found.st_gid)
        return f"{problem}: join the group {group} (usermod -aG {group} {me}) and start again in a new session"
    return f"{problem}: who publishes or serves there has to let in a group that this user is in (socket_group)"
