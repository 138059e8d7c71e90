"""The good client of every attack: it is served all the time, and must not miss or notice anything."""

import threading
from types import TracebackType
from typing import Any, Self

import eis.msgbus as mb
from tests.transports.zmq.helpers import until

__all__ = ["Good"]


class Good:
    """Publish numbered messages to a subscriber in a thread, and look at each of them."""

    def __init__(self, publisher: mb.Publisher, subscriber: mb.Subscriber[Any], blob: bytes = b"x") -> None:
        self.received = 0
        self.problems: list[str] = []
        self._publisher, self._subscriber, self._blob = publisher, subscriber, blob
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="good-client", daemon=True)

    def __enter__(self) -> Self:
        self._publisher.wait_for_subscribers(1, 10000)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.wait(0.002) and not self.problems:
            try:
                self._publisher.publish(({"n": self.received}, self._blob))
                self._look_at(self._subscriber.recv(10000))
            except mb.MsgbusException as error:
                self.problems.append(repr(error))

    def _look_at(self, envelope: mb.MsgEnvelope[Any]) -> None:
        if envelope != ({"n": self.received}, self._blob):
            self.problems.append(f"expected {self.received}, got {envelope}")
        self.received += 1

    def wait_for_one_more(self) -> None:
        """Wait until one more message was received; it was published after the call, or just before."""
        before = self.received
        until(lambda: self.received > before or self.problems)

    def has_missed_nothing(self) -> None:
        """Assert that it still receives, and has received all."""
        self.wait_for_one_more()
        assert not self.problems, self.problems
        stats = self._subscriber.stats
        assert (stats.malformed, stats.refused, stats.reconnects, stats.dropped) == (0, 0, 0, 0)
