"""What subscribers want of a broker: told to publishers, granted, and given where it is kept. Carries no message."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from eis.msgbus._wire.native import MARK
from eis.msgbus.transports.zmq.calls import LAST
from eis.msgbus.transports.zmq.granting import GrantedSubscriptions
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.peer import Peer, Source
from eis.msgbus.transports.zmq.queues import is_quiet
from eis.msgbus.transports.zmq.subscriptions import SUBSCRIBE, UNSUBSCRIBE
from eis.msgbus.transports.zmq.topics import Topics

__all__ = ["Giving", "Wanted"]

_PATIENCE = 100  # looks; far more than there ever were on a busy machine
_AT_A_TIME = 5_000  # frames of one client; no client can hold more subscriptions


class Wanted(Topics):
    """Count what subscribers want, and `tell` publishers of the first subscription and of the last end of each."""

    def __init__(self, tell: Callable[[bytes], object], own: Sequence[bytes] = ()) -> None:
        """Tell of what the broker wants itself, as long as it runs."""
        super().__init__(always_plain=True)
        self.subscriptions: Counter[bytes] = Counter()
        self._tell, self._own = tell, frozenset(own)
        for prefix in self._own:
            tell(SUBSCRIBE + prefix)

    def want(self, prefix: bytes, form: bytes, count: int) -> None:  # noqa: ARG002  # all that is brokered is plain
        """Take notice that so many more subscriptions, or fewer, want all that begins with `prefix`."""
        if prefix[:1] == MARK:  # what a new subscriber asks of a publisher to which it is connected itself
            return
        before = self.subscriptions[prefix]
        self.subscriptions[prefix] += count
        if not self.subscriptions[prefix]:
            del self.subscriptions[prefix]
        if bool(before) is not (prefix in self.subscriptions) and prefix not in self._own:
            self._tell((UNSUBSCRIBE if before else SUBSCRIBE) + prefix)


class Giving(GrantedSubscriptions):
    """Grant subscriptions one by one, and `give` what is for each new one while libzmq knows whose it is.

    It forgets that when it takes notice of the end of any connection. So a subscription is read when none is about to
    end, and just after something was sent, to nobody: for a millisecond libzmq takes notice of nothing then, while it
    sends. Where it does not become quiet, all that waits is granted, `give` is told that it may not send, and
    who sends more subscriptions than anybody can hold is cut off, or barred, as who subscribes to too much.
    """

    def __init__(
        self,
        recv: Callable[..., Any],
        topics: Topics,
        link: Link,
        give: Callable[[bytes, bool], object],
        send: Callable[..., object],
    ) -> None:
        super().__init__(self._recv_quietly, topics, link, None)
        self._next, self._give, self._send = recv, give, send
        self._looks = 0  # in a row, at which some connection was about to end
        self._gives = False
        self._came: Counter[Peer] = Counter()  # frames, since there was none to read

    def _recv_quietly(self, flags: int, **options: bool) -> Any:
        """Read the next frame, in the quiet; out of step nothing is granted, and all has to be read."""
        if not self._events() & zmq.POLLIN:
            self._looks = 0
            self._came.clear()
            raise zmq.Again
        if self._in_step and not self._is_time():
            raise zmq.Again
        return self._next(flags, **options)

    def _is_time(self) -> bool:
        """Tell whether to read now; a look has libzmq take in more, so that there is none once patience is over."""
        if self._looks <= _PATIENCE:
            self._gives = is_quiet(self._link.socket)
            self._looks = 0 if self._gives else self._looks + 1
        if self._gives:
            self._send(MARK, LAST)  # nobody is granted what begins so
        return self._gives or self._looks > _PATIENCE

    def _take(self, source: Source | None, frame: bytes) -> None:
        if source is None or not self._in_step or not self._is_flood(source):
            super()._take(source, frame)

    def _is_flood(self, source: Source) -> bool:
        """Tell whether a client has sent too much since there was nothing to read; break it off then."""
        self._came[source.peer] += 1
        if self._came[source.peer] == _AT_A_TIME + 1:
            self._break_off(source, "sent too many subscriptions at a time")
        return self._came[source.peer] > _AT_A_TIME

    def _grant(self, source: Source, prefix: bytes) -> None:
        is_new = source.peer not in self._held.get(prefix, {})
        super()._grant(source, prefix)
        if is_new and self._held[prefix][source.peer].form is not None:
            self._give(prefix, self._gives and not _is_gone(source))


def _is_gone(source: Source) -> bool:
    """Tell whether the connection was closed before its subscription was read: libzmq would send to everybody then."""
    return sys.platform != "win32" and source.peer.gone  # Windows does not tell
