"""The files of a recording that was split, as if they were one. Knows no bus, and not what stands in a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from eis.msgbus.recording.message import Recorded
from eis.msgbus.recording.reader import Recording

__all__ = ["Recordings"]


class Recordings:
    """Be one file of `msgbus record` or several, in the order of their times; one that was cut short comes last.

    `complete` says whether all have their ends, `topics` are those of all, `span` is the first and the last log time;
    None where a file has no index.

    Raises:
        MessageBusError: a file cannot be read, or is another's.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        found = [Recording(path) for path in paths]
        self._files = sorted(found, key=lambda each: math.inf if each.span is None else each.span[0])
        self.complete = all(each.complete for each in found)
        self.topics = tuple(dict.fromkeys(topic for each in self._files for topic in each.topics))
        self.span = self._whole()

    def messages(self) -> Iterator[Recorded]:
        """Yield every message.

        Raises:
            MessageBusError: a file is damaged.
        """
        for each in self._files:
            yield from each.messages()

    def _whole(self) -> tuple[int, int] | None:
        spans = [each.span for each in self._files if each.span is not None]
        if len(spans) < len(self._files):
            return None
        return spans[0][0], max(last for _, last in spans)
