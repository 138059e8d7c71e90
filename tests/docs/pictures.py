"""The pictures of the documentation that commands make: `python -m tests.docs.pictures`. Checks nothing."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import eis.msgbus as mb
from eis.msgbus.tools.demo.pace import Pace
from tests.docs.screen import picture, terminal
from tests.tools.deployment import write_deployment

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def draw_deployment(target: Path) -> None:
    """Draw the deployment of the example."""
    with tempfile.TemporaryDirectory() as directory:
        names = write_deployment(Path(directory))
        command = [sys.executable, "-m", "eis.msgbus", "check", *names, "--graph", str(target)]
        subprocess.run(command, cwd=directory, stdout=subprocess.DEVNULL, check=False)


@contextmanager
def station(folder: Path) -> Iterator[mb.MsgbusContext]:
    """Have two cameras and their results published, as `bus.json` in a directory says."""
    (folder / "bus.json").write_text(json.dumps({"type": "zmq_ipc", "socket_dir": str(folder / "sockets")}))
    (folder / "sockets").mkdir(mode=0o700)
    over = threading.Event()
    with mb.MsgbusContext(folder / "bus.json") as bus:
        publishers = [bus.new_publisher(topic) for topic in ("camera1", "camera2", "results")]
        thread = threading.Thread(target=_publish, args=[publishers, over])
        thread.start()
        try:
            yield bus
        finally:
            over.set()
            thread.join()


def _publish(publishers: list[mb.Publisher], over: threading.Event) -> None:
    pace, frame, number = Pace(30, None), bytes(1080 * 1920 * 3), 0
    shape = {"width": 1920, "height": 1080, "channels": 3}
    first, second, results = publishers
    while not over.wait(pace.delay()):
        number += 1
        first.publish(({"frame_number": number, **shape}, frame))
        if number % 3 == 0:
            second.publish(({"frame_number": number // 3, **shape, "encoding_type": "jpeg"}, os.urandom(80_000)))
        results.publish({"frame_number": number, "defects": [{"type": 1, "tl": [12, 40], "br": [60, 88]}]})


def draw_top(target: Path) -> None:
    """Show `msgbus top` when it has seen some seconds."""
    seen = _screen("top", "-c", "bus.json", until=lambda text: text.count("connected") == 3 and " 30." in text)
    target.write_text(picture("msgbus top", seen))


def draw_sub(target: Path) -> None:
    """Show `msgbus sub` with a few messages."""
    seen = _screen("sub", "camera1", "-c", "bus.json", "-n", "4", until=lambda text: text.count("bytes") == 4)
    target.write_text(picture("msgbus sub", seen))


def _screen(*arguments: str, until: Callable[[str], bool]) -> str:
    """Run a command where the station is, and return its screen as soon as that is as wanted."""
    with (
        tempfile.TemporaryDirectory(prefix="mb-") as directory,
        station(Path(directory)),
        terminal(Path(directory), *arguments) as screen,
    ):
        return screen.wait_for(until)


if __name__ == "__main__":
    draw_deployment(IMAGES / "deployment.svg")
    draw_sub(IMAGES / "sub.svg")
    draw_top(IMAGES / "top.svg")
