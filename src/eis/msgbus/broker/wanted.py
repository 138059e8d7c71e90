"""What subscribers want of a broker: told to publishers, granted, and given where it is kept. Carries no message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from eis.msgbus._wire.native import MARK
from eis.msgbus.transports.zmq.link import Link
from eis.msgbus.transports.zmq.peer import Source
from eis.msgbus.transports.zmq.queues import is_quiet
from eis.msgbus.transports.zmq.subscriptions import GrantedSubscriptions
from eis.msgbus.transports.zmq.topics import Topics

__all__ = ["Giving", "Wanted"]

_PATIENCE = 100  # looks; far more than there ever were on a busy machine


class Wanted(Topics):
    """Count what subscribers want, and `tell` publishers of the first subscription and of the last end of each."""

    def __init__(self, tell: Callable[[bytes], object], own: Sequence[bytes] = ()) -> None:
        """Tell of what the broker wants itself, as long as it runs."""
        super().__init__(always_plain=True)
        self.subscriptions: Counter[bytes] = Counter()
        self._tell, self._own = tell, frozenset(own)
        for prefix in self._own:
            tell(b"\1" + prefix)

    def want(self, prefix: bytes, form: bytes, count: int) -> None:  # noqa: ARG002  # all that is brokered is plain
        """Take notice that so many more subscriptions, or fewer, want all that begins with `prefix`."""
        if prefix[:1] == MARK:  # what a new subscriber asks of a publisher to which it is connected itself
            return
        before = self.subscriptions[prefix]
        self.subscriptions[prefix] += count
        if not self.subscriptions[prefix]:
            del self.subscriptions[prefix]
        if bool(before) is not (prefix in self.subscriptions) and prefix not in self._own:
            self._tell((b"\0" if before else b"\1") + prefix)


class Giving(GrantedSubscriptions):
    """Grant subscriptions one by one, and `give` what is for each new one while libzmq knows whose it is.

    It forgets that when any connection ends, in two steps with an answer of the I/O thread in between. So no connection
    is between the two when a subscription is read: until `give` has sent, at most the first step is done.
    """

    def __init__(self, recv: Callable[..., Any], topics: Topics, link: Link, give: Callable[[bytes], object]) -> None:
        super().__init__(self._recv_quietly, topics, link, None)
        self._next, self._give = recv, give
        self._looks = 0  # in a row, at which some connection was about to end
        self._gives = False

    def _recv_quietly(self, flags: int, **options: bool) -> Any:
        """Read the next frame, in the quiet; out of step nothing is granted, and all has to be read."""
        if not self._events() & zmq.POLLIN or (self._in_step and not self._is_time()):
            raise zmq.Again
        return self._next(flags, **options)

    def _is_time(self) -> bool:
        """Tell whether to read now; where it does not become quiet, subscriptions are granted, and nothing is given."""
        self._gives = is_quiet(self._link.socket)
        self._looks = 0 if self._gives else self._looks + 1
        return self._gives or self._looks > _PATIENCE

    def _grant(self, source: Source, prefix: bytes) -> None:
        is_new = source.peer not in self._held.get(prefix, {})
        super()._grant(source, prefix)
        if is_new and self._gives and self._held[prefix][source.peer].form is not None:
            self._give(prefix)
