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
        parents = (str(each) for each in reversed(Path(path).parents))
        return next(filter(None, (_told("enter", each, os.X_OK, stat.S_IXGRP) for each in parents)), "")
    except OSError:
        return ""
    return _told("connect to", path, os.W_OK, stat.S_IWGRP)


def _told(what: str, path: str, right: int, of_group: int) -> str:
    """Say what is not allowed, whose it is, and which group would help; empty where it is allowed.

    What changes while it is looked at is no error yet: it may be allowed now, and the next look will tell.
    """
    try:
        found = os.stat(path)
        if os.access(path, right, effective_ids=True) or _rights(os.stat(path)) != _rights(found):
            return ""
    except OSError:  # it is gone meanwhile
        return ""
    me = accounts.user_name(os.geteuid())
    problem = f"the user {me} (uid {os.geteuid()}) has no right to {what} {accounts.described(path, found)}"
    if found.st_mode & of_group and found.st_gid not in {0, os.getegid(), *os.getgroups()}:
        group = accounts.group_name(found.st_gid)
        return f"{problem}: join the group {group} (usermod -aG {group} {me}) and start again in a new session"
    return f"{problem}: who publishes or serves there has to let in a group that this user is in (socket_group)"


def _rights(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_mode, found.st_uid, found.st_gid
