"""A command in a real terminal, and a picture of what stands there. Knows no command of the bus."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

ERASED = re.compile(r"(?:\r?\x1b\[2K|\x1b\[1A\x1b\[2K)+")
MOVED = re.compile(r"\x1b\[[0-9;?]*[A-HJKSThl]")


class Screen:
    """What a command has written to its terminal so far."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._written = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __str__(self) -> str:
        """Return what stands there now, with its colours: what was written since it was last erased."""
        return MOVED.sub("", ERASED.split(self._written)[-1]).replace("\r\n", "\n").strip("\n")

    def wait_for(self, seen: Callable[[str], object], seconds: float = 40) -> str:
        """Wait until the screen is as wanted, and return it."""
        with self._changed:
            if not self._changed.wait_for(lambda: seen(str(self)), seconds):
                raise TimeoutError(self._written)
            return str(self)

    def close(self) -> None:
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # how a terminal says that nobody writes any more
            while data := os.read(self._master, 65536):
                with self._changed:
                    self._written += data.decode(errors="replace")
                    self._changed.notify_all()


@contextmanager
def terminal(folder: Path, *arguments: str, columns: int = 110) -> Iterator[Screen]:
    """Run `msgbus ARGUMENTS` in a terminal, until the end of the block."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    hidden = ("COLUMNS", "LINES", "NO_COLOR")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"TERM": "xterm-256color"}
    command = [sys.executable, "-m", "eis.msgbus", *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    screen = Screen(master)
    try:
        yield screen
    finally:
        process.terminate()
        process.wait(10)
        screen.close()


def picture(title: str, screen: str, columns: int = 110) -> str:
    """Return an SVG of a screen, which needs no font from elsewhere."""
    console = Console(record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor", width=columns)
    console.print(Text.from_ansi(screen))
    drawn = console.export_svg(title=title, unique_id=re.sub(r"\W+", "-", title))
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace("Fira Code, ", "")
