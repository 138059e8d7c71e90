"""`msgbus demo`: three processes play 1080p frames through the bus. Does not know sockets, frames or figures.

ingestion --frames, zmq_ipc or zmq_tcp--> analytics --results, zmq_tcp + CURVE--> viewer
                                          analytics <--snapshot, zmq_tcp + CURVE-- viewer
"""

import contextlib
import importlib.util
import math
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from eis.msgbus.tools.demo.children import Troupe
from eis.msgbus.tools.demo.settings import Options, for_each_role, is_device

__all__ = ["Options", "run"]

LEFT_BEHIND = ("frame.png", "table.txt", "table.json")
"""The files that the viewer writes; those of an earlier run are removed first, so that none is taken for new."""

_FINISH = 20
"""Seconds after Ctrl-C until everything that was sent has arrived."""


def run(options: Options) -> int:
    """Play until the end, and return an exit status: 0 done, 1 something lost or failed, 2 not startable."""
    if problem := _obstacle(options):
        print(f"msgbus demo {problem}", file=sys.stderr)
        return 2
    with _terminated_like_ctrl_c():
        complaints = _play(options)
    for complaint in complaints:
        print(f"msgbus demo: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _play(options: Options) -> list[str]:
    private = tempfile.TemporaryDirectory(prefix="msgbus-demo-", ignore_cleanup_errors=True)
    with private as directory, Troupe(for_each_role(options, directory)) as troupe:
        complaints = _see_through(troupe)
        return complaints + troupe.end()


def _see_through(troupe: Troupe) -> list[str]:
    """Wait for the end of the stream; Ctrl-C brings it about, and everything that was sent still arrives."""
    try:
        return troupe.wait("viewer", math.inf)
    except KeyboardInterrupt:
        troupe.tell("ingestion", b"finish")
        return troupe.wait("viewer", _FINISH)


def _obstacle(options: Options) -> str | None:
    """Return why the demo cannot start, and make the directory for what it leaves behind."""
    if not (_installed("numpy") and _installed("PIL")):
        return 'needs NumPy and Pillow: pip install "eis-msgbus[demo]"'
    if options.source and not _installed("cv2"):
        return '--source needs OpenCV: pip install "eis-msgbus[demo,video]"'
    if options.source and not is_device(options.source) and not Path(options.source).is_file():
        return f"--source: expected a film or a camera, got {options.source!r}, which is not there"
    return _unwritable(Path(options.output))


def _unwritable(directory: Path) -> str | None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in LEFT_BEHIND:
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        return f"--output: expected a directory that can be written to: {error}"
    return None


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@contextlib.contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
