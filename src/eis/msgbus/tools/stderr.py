"""What is told beside the output: one line each on stderr, and nothing twice in a row. Knows no message."""

import logging
import sys

__all__ = ["Log", "printable", "say"]


def say(text: str) -> None:
    """Tell the user something that is no output."""
    print(f"msgbus: {printable(' '.join(text.split()))}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return text that came from elsewhere without what a terminal would obey."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class Log(logging.Handler):
    """Tell the warnings of the bus; the error that may follow says the same."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one warning."""
        self.tell(record.getMessage())

    def tell(self, text: str) -> None:
        """Tell what was not told just now."""
        if text != self._last:
            say(text)
        self._last = text
