"""Where a socket file may lie. Looks, and makes nothing."""

from __future__ import annotations

import os

from eis.msgbus.exceptions import InvalidConfig

__all__ = ["HOW_TO_MAKE", "check_directory", "check_path"]

MAX_PATH = 107  # bytes of sockaddr_un.sun_path, less the NUL
HOW_TO_MAKE = "make it with: install -d -m 2750 -g GROUP "


def check_path(path: str) -> None:
    """Refuse a path that no socket address holds.

    Raises:
        InvalidConfig: longer than 107 bytes.
    """
    if (length := len(os.fsencode(path))) > MAX_PATH:
        raise InvalidConfig(f"expected a socket path of at most {MAX_PATH} bytes, got {length}: {path}", "socket_dir")


def check_directory(directory: str) -> None:
    """Refuse a directory that is missing. One that this user cannot look at may be there.

    Raises:
        InvalidConfig: with what to do about it.
    """
    try:
        os.stat(os.path.join(directory, ""))
    except PermissionError:
        return
    except OSError as error:
        if os.path.exists(directory):
            raise InvalidConfig(f"{directory} is no directory", "socket_dir") from error
        what = "does not exist; start what publishes or serves there, or"
        raise InvalidConfig(f"{directory} {what} {HOW_TO_MAKE}{directory}", "socket_dir") from error
