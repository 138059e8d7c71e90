"""Text on a terminal, renewed in place; anywhere else, line after line. Does not know what the text means."""

import shutil
from collections.abc import Sequence
from typing import TextIO


class Screen:
    """Show text in a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = 0
        self.in_place = stream.isatty()
        """Whether text can be renewed in place."""

    def show(self, lines: Sequence[str]) -> None:
        """Show lines; on a terminal in place of those shown before."""
        if self.in_place:
            self._rewind()
            lines = [line[: shutil.get_terminal_size().columns - 1] for line in lines]
        self._shown = len(lines)
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()

    def _rewind(self) -> None:
        if self._shown:
            self._stream.write(f"\x1b[{self._shown}F\x1b[J")  # so many lines up, then erase what is below
