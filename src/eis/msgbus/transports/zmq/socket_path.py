"""Where a socket file may lie. Looks at the directory, and makes nothing."""

from __future__ import annotations

import os

from eis.msgbus.exceptions import InvalidConfig

__all__ = ["check_directory", "check_path"]

MAX_PATH = 107  # bytes of sockaddr_un.sun_path, less the NUL


def check_path(path: str) -> None:
    """Refuse a path that no socket address holds.

    Raises:
        InvalidConfig: longer than 107 bytes.
    """
    if (length := len(os.fsencode(path))) > MAX_PATH:
        raise InvalidConfig(f"expected a socket path of at most {MAX_PATH} bytes, got {length}: {path}", "socket_dir")


def check_directory(directory: str, access: int) -> None:
    """Refuse a directory that is missing or does not grant `access` (os.X_OK, os.W_OK) to this process.

    Raises:
        InvalidConfig: with what to do about it.
    """
    if not os.path.isdir(directory):
        what = "is no directory" if os.path.exists(directory) else "does not exist"
        raise InvalidConfig(f"{directory} {what}; make it with: install -d -m 2750 -g GROUP {directory}", "socket_dir")
    if not os.access(directory, access):
        right = "create socket files in" if access & os.W_OK else "reach the socket files in"
        raise InvalidConfig(f"this user has no right to {right} {directory}", "socket_dir")
