"""Whether a recorder keeps up: `python -m benchmarks.recording --seconds 20 30 60`. Does not know what a recording is.

Raw 1080p frames of noise go from a publisher in a process of its own, in shared memory, into a file of `msgbus record`,
at so many in a second. The exit code is 1 when any is missing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import eis.msgbus as mb
from eis.msgbus.tools.demo.pace import Pace

__all__ = ["Kept", "measure"]

SHAPE = {"width": 1920, "height": 1080, "channels": 3}
DIFFERENT = 4  # frames, which follow one another again and again
PATIENCE = 30.0  # seconds for what waits when the last frame was published


@dataclass(frozen=True)
class Kept:
    """Say how many frames of how many are in the file, how fast they came, and what the recorder took."""

    rate: int
    published: int
    recorded: int
    missing: int
    megabytes_per_second: float
    cpu: float  # of one core

    def __str__(self) -> str:
        speed = f"{self.megabytes_per_second:.0f} MB/s, {self.cpu:.0%} of a core"
        return f"{self.rate} frames/s: {self.recorded} of {self.published} recorded, {self.missing} missing, {speed}"


def measure(rate: int, seconds: float, folder: Path) -> Kept:
    """Record so many seconds of frames into a directory, which is on the disk in question."""
    count = max(1, round(rate * seconds))
    config = folder / "bus.json"
    config.write_text(json.dumps({"type": "zmq_ipc", "socket_dir": str(folder / "sockets")}))
    (folder / "sockets").mkdir(mode=0o700, exist_ok=True)
    arguments = ["record", "-q", "--json", "-o", f"{folder}/{rate}.mcap", "camera1", "-c", str(config)]
    command = [sys.executable, "-m", "eis.msgbus", *arguments, "-n", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as recorder:
        ender = threading.Timer(seconds + 2 * PATIENCE, recorder.terminate)  # where frames are missing
        ender.start()
        publish(config, rate, count)
        assert recorder.stdout is not None
        told = json.loads(recorder.stdout.read())
        _, status, used = os.wait4(recorder.pid, 0)
        recorder.returncode = os.waitstatus_to_exitcode(status)
        ender.cancel()
    (folder / f"{rate}.mcap").unlink()
    return Kept(
        rate,
        count,
        told["messages"],
        count - told["messages"],
        told["bytes"] / 1e6 / seconds,
        (used.ru_utime + used.ru_stime) / seconds,
    )


def publish(config: Path, rate: int, count: int) -> None:
    """Publish frames of noise, when somebody subscribes."""
    size = SHAPE["width"] * SHAPE["height"] * SHAPE["channels"]
    frames = [os.urandom(size) for _ in range(DIFFERENT)]
    never = threading.Event()
    with mb.MsgbusContext(config) as bus:
        publisher = bus.new_publisher("camera1")
        publisher.wait_for_subscribers(1, timeout=PATIENCE * 1000)
        pace = Pace(rate, None)
        for number in range(count):
            never.wait(pace.delay())
            publisher.publish(({"frame_number": number, **SHAPE}, frames[number % DIFFERENT]))
        never.wait(1.0)  # who still copies the last frames from this process's memory is given the time


def main() -> int:
    """Print a line for each rate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rates", nargs="*", type=int, default=[30], metavar="RATE")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--directory", help="on the disk that is to be measured")
    options = parser.parse_args()
    missing = 0
    with tempfile.TemporaryDirectory(prefix="mb-", dir=options.directory) as folder:
        for rate in options.rates:
            kept = measure(rate, options.seconds, Path(folder))
            print(kept, flush=True)
            missing += kept.missing
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
