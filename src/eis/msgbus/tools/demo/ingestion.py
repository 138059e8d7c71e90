"""The process that publishes frames. Does not know what they are for."""

import secrets
import time
from functools import partial

from eis.msgbus import MsgbusContext, Publisher
from eis.msgbus.tools.demo.control import Control
from eis.msgbus.tools.demo.messages import FRAMES, Box, End, Frame, Progress, to_metadata
from eis.msgbus.tools.demo.pace import Pace
from eis.msgbus.tools.demo.scene import Image
from eis.msgbus.tools.demo.settings import Settings
from eis.msgbus.tools.demo.source import Source, opened

_START, _DRAIN = 30, 60
"""Seconds that the others may take to start, and to end."""


def main(settings: Settings, control: Control) -> int:
    """Publish the source's frames in time, then how many they were."""
    with opened(settings.options.source) as source, MsgbusContext(settings.frames) as bus:
        publisher = bus.new_publisher(FRAMES)
        control.patiently(partial(publisher.wait_for_subscribers, 1), _START, "no subscriber came")
        total = _Camera(publisher, source.overlays).play(source, settings.options.seconds, control)
        publisher.publish(to_metadata(End(total)))
        control.wait_for_end(_DRAIN)
    return 0


class _Camera:
    """Number the frames from 1 and tell with each what this process has done so far."""

    def __init__(self, publisher: Publisher, overlays: list[Box]) -> None:
        self._publisher = publisher
        self._overlays = overlays
        self._frames = self._bytes = 0

    def play(self, source: Source, seconds: float | None, control: Control) -> int:
        """Publish frames when they are due, and return how many."""
        pace = Pace(source.rate, seconds)
        for image in source.frames:
            delay = pace.delay()
            if delay is None or control.finishing.wait(delay):
                break
            self._publish(image)
        return self._frames

    def _publish(self, image: Image) -> None:
        self._frames += 1
        self._bytes += image.nbytes
        now = time.monotonic_ns()
        self._publisher.publish((to_metadata(self._describe(image, now)), image))

    def _describe(self, image: Image, now: int) -> Frame:
        height, width, channels = image.shape
        return Frame(
            img_handle=secrets.token_hex(5),
            width=width,
            height=height,
            channels=channels,
            frame_number=self._frames,
            sent_ns=now,
            overlays=self._overlays,
            ingestion=Progress(self._frames, self._bytes, time.process_time_ns(), now),
        )
