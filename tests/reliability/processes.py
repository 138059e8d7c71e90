"""Programs of the reliability plan, and what the kernel says about them."""

from pathlib import Path

from tests.transports.zmq.helpers import Program

__all__ = ["PUBLISH", "descriptors", "kill", "memory", "peak", "threads"]

PUBLISH = """
import time
from tests.reliability.history import numbered
with mb.MsgbusContext(config["bus"]) as bus:
    publisher = bus.new_publisher("camera1")
    begun, number, stop = time.monotonic(), 0, threading.Event()
    print("listening", flush=True)
    while not stop.wait(config["pause"]):
        for _ in range(config.get("burst", 1)):
            metadata, blob = numbered(os.getpid(), number)
            parts = (metadata | {"begun": begun}, blob)
            publisher.publish((*parts, bytes(config["frame"])) if "frame" in config else parts)
            number += 1
"""
"""Publish numbered messages; the epoch is the process's number, `begun` the monotonic time of the listening socket.

`burst` messages, 1 if it is left out, go out every `pause` seconds, with one more blob of `frame` bytes if it says so.
"""


def kill(program: Program) -> None:
    """End a program with SIGKILL."""
    program.process.kill()
    program.close()


def memory(pid: int) -> int:
    """Return how many bytes of a process are in memory."""
    return _status(pid, "VmRSS") * 1024


def peak(pid: int) -> int:
    """Return the most bytes of a process that ever were in memory."""
    return _status(pid, "VmHWM") * 1024


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return _status(pid, "Threads")


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _status(pid: int, name: str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition(f"{name}:")[2].split()[0])
