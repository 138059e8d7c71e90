"""Know the peers at a socket file by the users that run them. Does not know what a door does with the answer.

The kernel says who they are (SO_PEERCRED, as libzmq passes it on): who they were when they connected. Supplementary
groups are those of the user's account. Those that a process was only given by `setgroups` do not count: the kernel
tells none, and to look them up by the process's number would trust whoever has the number now.
"""

from __future__ import annotations

import re
import sys
import time

from eis.msgbus._config import Users
from eis.msgbus.transports.zmq import accounts
from eis.msgbus.transports.zmq.door import Question

__all__ = ["KnownUsers"]

assert sys.platform != "win32"  # for mypy; nothing imports this there

_PEER = re.compile(r"(?:localhost)?:([0-9]{1,10}):([0-9]{1,10}):[0-9]{1,10}")  # user, group, process
_TERM = 10.0  # seconds; so long a change of a user's groups may take to count


class KnownUsers:
    """Know who is listed, and nobody else: not root, nor the own user, unless they are.

    Raises:
        InvalidConfig: the system knows no such user or group.
    """

    def __init__(self, who: Users) -> None:
        places = ((f"{who.where}.allowed_users[{index}]", user) for index, user in enumerate(who.users))
        self._users = frozenset(accounts.user_id(user, where) for where, user in places)
        places = ((f"{who.where}.allowed_groups[{index}]", group) for index, group in enumerate(who.groups))
        self._groups = frozenset(accounts.group_id(group, where) for where, group in places)

    def judge(self, question: Question) -> str | None:
        """Return the name of the user that runs the peer, or the number where there is no account."""
        ids = _ids(question)
        if ids is None:
            return None
        uid, gid = ids
        known = uid in self._users or gid in self._groups or self._is_member(uid)
        return accounts.user_name(uid) if known else None

    def _is_member(self, uid: int) -> bool:
        term = int(time.monotonic() / _TERM)
        return bool(self._groups) and not self._groups.isdisjoint(accounts.groups_of(uid, term))

    def told(self, question: Question) -> str:
        """Return the user and what it is not in."""
        ids = _ids(question)
        if ids is None:
            return "a client whose user is not known"
        return f"the user {accounts.user_name(ids[0])}, who is not in allowed_users nor in one of the allowed_groups,"


def _ids(question: Question) -> tuple[int, int] | None:
    """Return user and group of who asks; None where anything is odd."""
    peer = _PEER.fullmatch(question.address)
    if peer is None or question.mechanism != b"NULL" or question.credentials:
        return None
    return int(peer[1]), int(peer[2])
