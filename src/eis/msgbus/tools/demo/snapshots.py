"""Requests for snapshots that never hold up the viewer. No text, no files."""

from typing import Any

from eis.msgbus import Disconnected, MsgEnvelope, NoMessage, Requester
from eis.msgbus.tools.demo.control import Control
from eis.msgbus.tools.demo.figures import percentile
from eis.msgbus.tools.demo.messages import Result, to_result

_EVERY = 2_000_000_000
"""Nanoseconds between two requests."""
_PATIENCE = 5
"""Seconds that the last answer may take."""


class Snapshots:
    """Ask now and then, look for the answer between two results, keep the newest."""

    def __init__(self, requester: Requester) -> None:
        self.asked = self.answered = self.bytes = 0
        self.newest: tuple[Result, memoryview] | None = None
        self._requester = requester
        self._times: list[float] = []
        self._asked_ns = 0
        self._open = False

    def poll(self, now_ns: int) -> None:
        """Take the answer if it is there; ask again when it is time."""
        if self._open:
            self._look(now_ns)
        if now_ns - self._asked_ns >= _EVERY:
            self._ask(now_ns)

    def last(self, control: Control, now_ns: int) -> None:
        """Ask a last time and wait for the answer.

        Raises:
            DemoError: no answer came.
        """
        self._ask(now_ns)
        self._take(control.patiently(self._requester.recv, _PATIENCE, "no answer to a snapshot request"))

    @property
    def p50_ms(self) -> float | None:
        """Return the median milliseconds of an answer, as far as results came often enough to look for it."""
        return percentile(self._times, 50)

    def _ask(self, now_ns: int) -> None:
        self._requester.request({"want": "the newest frame"})
        self.asked += 1
        self._asked_ns, self._open = now_ns, True

    def _look(self, now_ns: int) -> None:
        try:
            envelope = self._requester.recv(0)
        except (NoMessage, Disconnected):
            return
        self._times.append((now_ns - self._asked_ns) / 1e6)
        self._take(envelope)

    def _take(self, envelope: MsgEnvelope[Any]) -> None:
        self._open = False
        self.answered += 1
        if envelope.view is None:  # "no frame yet"
            return
        result = to_result(envelope.meta_data)
        if isinstance(result, Result):
            self.newest = result, envelope.view
            self.bytes += envelope.view.nbytes
