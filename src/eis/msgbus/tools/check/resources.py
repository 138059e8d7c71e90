"""Rules of what the machine gives: directories, paths, memory, sizes. Looks, and makes nothing."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from eis.msgbus.tools.check.deployment import Deployment
from eis.msgbus.tools.check.finding import Finding
from eis.msgbus.tools.check.link import Link

__all__ = ["long_paths", "open_directories", "other_sizes", "too_large_messages", "too_much_memory"]

_LONGEST_PATH = 107  # bytes of a socket's address
_QUEUE_BYTES = 64 * 2**20  # where `queue_bytes` says nothing else
_SHARE = 2  # queues may take one part in so many of the memory
_MB = 10**6


def open_directories(deployment: Deployment) -> Iterator[Finding]:
    """Find directories in which somebody else could replace socket files, and those that nobody can make."""
    for file, directory, settings in sorted(_directories(deployment), key=lambda each: each[:2]):
        try:
            mode = Path(directory).stat().st_mode
        except FileNotFoundError:
            if not Path(directory).parent.exists():
                yield Finding(file, "socket_dir", f"{directory} cannot be made: its parent is not there", "make it")
            continue
        except OSError as error:
            yield Finding(file, "socket_dir", f"cannot look at {directory}: {error.strerror}", "")
            continue
        if not stat.S_ISDIR(mode):
            yield Finding(file, "socket_dir", f"{directory} is no directory", "name another, or remove it")
        elif not settings and (who := _who_replaces(mode)):
            problem = f"{directory} is too open: {who} may replace socket files"
            yield Finding(file, "socket_dir", problem, f"chmod 2750 {directory}, or 3770 where several users publish")


def _directories(deployment: Deployment) -> set[tuple[str, str, bool]]:
    return {
        (link.file, link.at.directory, bool(link.settings.get("allow_open_directory")))
        for link in deployment.links
        if link.at.directory
    }


def _who_replaces(mode: int) -> str:
    if mode & stat.S_IWOTH:
        return "everybody"
    return "its group" if mode & stat.S_IWGRP and not mode & stat.S_ISVTX else ""


def long_paths(deployment: Deployment) -> Iterator[Finding]:
    """Find socket files whose path no address holds."""
    for link in deployment.links:
        if link.at.directory and (length := len(os.fsencode(str(link.at)))) > _LONGEST_PATH:
            problem = f"the path {link.at} has {length} bytes, and a socket at most {_LONGEST_PATH}"
            yield Finding(link.file, link.where, problem, "choose a shorter socket_dir or socket_file")


def too_much_memory(deployment: Deployment) -> Iterator[Finding]:
    """Find queues that together may take more than half of this machine's memory, or that hold no two messages."""
    if sys.platform == "win32":
        return  # it does not say how much there is
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in deployment.files:
        links = [link for link in deployment.links if link.file == file and (link.names or link.listens)]
        total = sum(_memory_of(link) for link in links)
        if total > memory // _SHARE:
            problem = (
                f"up to {total // _MB} MB may wait in the queues and shared memory of {len(links)} entries, "
                f"of {memory // _MB} MB"
            )
            yield Finding(file, "queue_bytes", problem, f"at most {memory // _SHARE // max(1, len(links))} each")


def _memory_of(link: Link) -> int:
    """Return the bytes of its queues, and of shared memory where the configuration says how much."""
    shared = link.settings.get("shared_memory")
    each = link.settings.get("queue_bytes", _QUEUE_BYTES) + (
        shared.get("max_bytes", 0) if isinstance(shared, dict) else 0
    )
    return int(each) * max(1, len(link.names))


def too_large_messages(deployment: Deployment) -> Iterator[Finding]:
    """Find queues that hold no two messages: two may wait anyway."""
    for link in deployment.links:
        size = int(link.settings.get("max_message_bytes", 0))
        queue = int(link.settings.get("queue_bytes", _QUEUE_BYTES))
        if size * 2 > max(queue, 2 * _QUEUE_BYTES):
            problem = f"two messages of max_message_bytes ({size}) may always wait, more than queue_bytes ({queue})"
            yield Finding(link.file, "max_message_bytes", problem, f"write {queue // 2}, or a larger queue_bytes")


def other_sizes(deployment: Deployment) -> Iterator[Finding]:
    """Find connections whose sides take messages of other sizes: who gets a larger one cuts the connection."""
    for connection in deployment.connections():
        client, server = connection.client, connection.server
        sizes = [link.settings.get("max_message_bytes") for link in (client, server)]
        if sizes[0] != sizes[1]:
            problem = f"max_message_bytes is {sizes[0] or 'left out'}, and in {server.title} {sizes[1] or 'left out'}"
            yield Finding(client.file, "max_message_bytes", problem, "use the same on both sides")
