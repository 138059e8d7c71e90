"""The process that shows the figures, and leaves a picture and a table behind. Computes nothing on pictures."""

import sys
import time
from pathlib import Path
from typing import Any

from eis.msgbus import MsgbusContext, Subscriber
from eis.msgbus.tools.demo.control import AbortedError, Control
from eis.msgbus.tools.demo.detect import to_image
from eis.msgbus.tools.demo.figures import Figures, Moment
from eis.msgbus.tools.demo.messages import LOST, RESULTS, SNAPSHOT, End, Progress, Result, to_result
from eis.msgbus.tools.demo.picture import annotate
from eis.msgbus.tools.demo.screen import Screen
from eis.msgbus.tools.demo.settings import Settings
from eis.msgbus.tools.demo.snapshots import Snapshots
from eis.msgbus.tools.demo.table import Facts, line, table, to_json

_START, _STALL = 45, 20
"""Seconds that the first result and each further one may take; longer than the others wait, who know more."""
_SECOND = 1_000_000_000


def main(settings: Settings, control: Control) -> int:
    """Show results until their end, or until the parent says so; then leave what is known behind."""
    with MsgbusContext(settings.results) as bus:
        viewer = _Viewer(Snapshots(bus.get_service(SNAPSHOT)), settings.options.mode)
        try:
            viewer.watch(bus.new_subscriber(RESULTS), control)
        except AbortedError:
            print("cut short", flush=True)
        finally:
            viewer.leave(Path(settings.options.output))
    return LOST if viewer.figures.lost else 0


class _Viewer:
    """Count results, show the figures each second, ask for snapshots in between."""

    def __init__(self, snapshots: Snapshots, mode: str) -> None:
        self.figures = Figures()
        self._snapshots = snapshots
        self._mode = mode
        self._screen = Screen(sys.stdout)
        self._shown: Moment | None = None

    def watch(self, subscriber: Subscriber[Any], control: Control) -> None:
        """Take results until their end.

        Raises:
            AbortedError: the parent wants an end.
            DemoError: nothing comes any more.
        """
        patience = _START
        while True:
            metadata = control.patiently(subscriber.recv, patience, "no result came").meta_data
            now, result = time.monotonic_ns(), to_result(metadata)
            if isinstance(result, End):
                break
            self._take(result, now)
            patience = _STALL
        self.figures.end(result)
        self._snapshots.last(control, time.monotonic_ns())

    def leave(self, directory: Path) -> None:
        """Write the picture and the tables, and show the last one."""
        lines = table(self.figures, self._facts())
        (directory / "table.txt").write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
        (directory / "table.json").write_bytes(to_json(self.figures, self._facts()))
        left = [directory / "table.txt", directory / "table.json"]
        if self._snapshots.newest:
            result, view = self._snapshots.newest
            annotate(to_image(result, view), result).save(directory / "frame.png")
            left.insert(0, directory / "frame.png")
        self._screen.show([*lines, "left behind: " + ", ".join(map(str, left))])

    def _take(self, result: Result, now: int) -> None:
        self.figures.add(
            result, Progress(self.figures.received + 1, self._snapshots.bytes, time.process_time_ns(), now)
        )
        self._snapshots.poll(now)
        self._shown = self._shown or self.figures.last
        if self._shown and now - self._shown.viewer.at_ns >= _SECOND:
            self._show(self._shown)

    def _show(self, since: Moment) -> None:
        in_place = self._screen.in_place
        self._screen.show(table(self.figures, self._facts(), since) if in_place else [line(self.figures, since)])
        self._shown = self.figures.last

    def _facts(self) -> Facts:
        return Facts(self._mode, self._snapshots.asked, self._snapshots.answered, self._snapshots.p50_ms)
