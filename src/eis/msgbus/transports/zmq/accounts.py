"""Users and groups of the operating system, by name and by number. Knows nothing of sockets."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import stat
import sys

from eis.msgbus.exceptions import InvalidConfig

__all__ = ["described", "give", "group_id", "group_name", "groups_of", "user_id", "user_name"]

assert sys.platform != "win32"  # for mypy; nothing imports this there


def user_id(user: str | int, where: str) -> int:
    """Return the number of a user of the system.

    Raises:
        InvalidConfig: nobody has that name.
    """
    try:
        return user if isinstance(user, int) else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise InvalidConfig(f"expected a user of this system, by name or number, got {user!r}", where) from None


def group_id(group: str | int, where: str) -> int:
    """Return the number of a group of the system.

    Raises:
        InvalidConfig: no group has that name.
    """
    try:
        return group if isinstance(group, int) else grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidConfig(f"expected a group of this system, by name or number, got {group!r}", where) from None


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one that the system has no account for."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, or the number of one that the system does not know."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


@functools.lru_cache(maxsize=256)
def groups_of(uid: int, term: int) -> frozenset[int]:  # noqa: ARG001  # an answer holds for one term
    """Return the groups that the system's account of a user is in; it is asked once a `term`, for it may be slow."""
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return frozenset()
    return frozenset(os.getgrouplist(account.pw_name, account.pw_gid))


def described(path: str, found: os.stat_result | None = None) -> str:
    """Return a path with its owner, group and mode, as they are or were: `/run/bus (root:video, mode 2750)`."""
    found = found or os.stat(path)
    return f"{path} ({user_name(found.st_uid)}:{group_name(found.st_gid)}, mode {stat.S_IMODE(found.st_mode):04o})"


def give(what: int | str, group: int) -> None:
    """Give an open directory, or what lies at a path, to a group.

    Raises:
        InvalidConfig: this user is not in the group.
    """
    try:
        if isinstance(what, int):
            os.fchown(what, -1, group)
        else:
            os.chown(what, -1, group, follow_symlinks=False)
    except PermissionError as error:
        me, name = user_name(os.geteuid()), group_name(group)
        problem = f"the user {me} cannot give anything to the group {name}: add it with: usermod -aG {name} {me}"
        raise InvalidConfig(problem, "socket_group") from error
