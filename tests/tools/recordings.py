"""A small recording, for the commands that read one. Knows no command."""

from pathlib import Path

import eis.msgbus as mb
from eis.msgbus.recording import Recorder
from tests.meeting import DEADLINE


def make_recording(path: Path) -> None:
    """Record two messages of camera1."""
    with mb.MsgbusContext({"type": "memory"}) as bus:
        recorder = Recorder(path, [bus.new_subscriber("camera1")], count=2)
        publisher = bus.new_publisher("camera1")
        with recorder:
            for number in range(2):
                publisher.publish(({"frame": number}, b"blob"))
            assert recorder.ended.wait(DEADLINE)
