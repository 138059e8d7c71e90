"""One real service behind a broker: asked one request at a time, while it is there. Does not know the others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, cast

from eis.msgbus._channel import Channel
from eis.msgbus._status import Status
from eis.msgbus._waiting import Deadline, wait
from eis.msgbus._wire import Frames
from eis.msgbus.broker.stats import BackendStats
from eis.msgbus.broker.waiting import Asked, Taker, Waiting
from eis.msgbus.exceptions import Disconnected, InvalidMessage, MsgbusException
from eis.msgbus.transports.zmq.requester import RequesterChannel

__all__ = ["Asking"]

_LOOK = 0.5  # seconds between two looks whether the connection is still there

Answer = Callable[[Frames, Any], bool]


class Asking:
    """Take requests that wait while the service is connected, and `answer` each with its reply, which may be dropped.

    `opened` opens a requester of the service. A service that does not answer within `seconds` gets no request for as
    long again, or until its late answer has come, which is thrown away. At the end, `hurry` says not to wait for an
    answer any longer.
    """

    def __init__(
        self,
        opened: Callable[[], Channel],
        waiting: Waiting,
        answer: Answer,
        seconds: float,
        hurry: threading.Event,
    ) -> None:
        self._opened, self._waiting, self._answer = opened, waiting, answer
        self._seconds, self._hurry = seconds, hurry
        self._taker = Taker(self._is_connected)
        self._silent = False
        self._answered = 0
        self._open()

    def _open(self) -> None:
        self._channel = channel = self._opened()
        assert isinstance(channel, RequesterChannel)
        self.address = channel.plan.address
        channel.status.listen(self._changed)

    @property
    def stats(self) -> BackendStats:
        """Return the state of the connection, or that the service owes an answer, and what was counted."""
        state = "silent" if self._silent else self._channel.status.now.state
        return BackendStats(self.address, state, self._answered)

    def wake(self) -> None:
        """Have the thread look whether it should end."""
        self._channel.wake()

    def run(self) -> None:
        """Carry requests and replies until the end."""
        while (asked := self._waiting.take(self._taker)) is not None:
            try:
                ended = self._carry(asked)
            except InvalidMessage:  # larger than one of the sides takes
                ended = "malformed"
            except MsgbusException:
                ended = "lost"
            self._waiting.over(ended)
            if ended == "unanswered":
                self._wait_for_late_answer()
            if ended not in ("answered", "dropped") and not self._waiting.ended:
                self._renew()

    def _carry(self, asked: Asked) -> str:
        """Return how it ended, in the word of the counts."""
        self._channel.send(asked.frames)
        if (reply := self._reply()) is None:
            return "unanswered"
        self._answered += 1
        return "answered" if self._answer(reply, asked.way_back) else "dropped"

    def _wait_for_late_answer(self) -> None:
        self._silent = True
        with contextlib.suppress(MsgbusException):
            self._reply()
        self._silent = False

    def _renew(self) -> None:
        """Go on with a requester that owes nothing: it is ready when it has a connection of its own."""
        self._channel.close()
        self._open()

    def _reply(self) -> Frames | None:
        """Return the reply; None if none came in time.

        Raises:
            Disconnected: the service went away, and it is not known what it did.
        """
        deadline = Deadline(self._seconds)
        while not self._hurry.is_set() and (left := deadline.left()):
            if replies := wait(self._channel, self._received, min(left, _LOOK)):
                return cast(Frames, replies[0])
            if not self._is_connected():
                raise Disconnected(f"the service at {self.address} is gone")
        return None

    def _received(self) -> Any:
        """Return the reply in a list; an empty one at the end, None if it has not come."""
        return () if self._hurry.is_set() else self._channel.receive() or None

    def _is_connected(self) -> bool:
        return self._channel.status.now.state == "connected"

    def _changed(self, _status: Status) -> None:
        """Take notice that the connection came or went. In a thread of the bus, which may hold the channel's lock."""
        self._waiting.look_again()
