"""The process that looks at frames: publishes what moves, answers requests for the newest. Draws nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from eis.msgbus import MsgbusContext, MsgEnvelope, Publisher, Service, Subscriber
from eis.msgbus.tools.demo.control import Control
from eis.msgbus.tools.demo.detect import Detector, to_image
from eis.msgbus.tools.demo.messages import (
    FRAMES,
    RESULTS,
    SNAPSHOT,
    Defect,
    End,
    Frame,
    Progress,
    Result,
    to_frame,
    to_metadata,
)
from eis.msgbus.tools.demo.sequence import Sequence
from eis.msgbus.tools.demo.settings import Settings

_START, _STALL, _DRAIN = 30, 15, 60
"""Seconds that the others may take to start, to send the next frame, and to end."""


def main(settings: Settings, control: Control) -> int:
    """Analyse frames until their end; everybody behind is there before the first is asked for."""
    with MsgbusContext(settings.frames) as frames, MsgbusContext(settings.results) as results:
        publisher = results.new_publisher(RESULTS)
        analyst = _Analyst(publisher)
        with _answering(results.new_service(SNAPSHOT), analyst):
            control.patiently(partial(publisher.wait_for_subscribers, 1), _START, "no viewer came")
            publisher.publish(to_metadata(analyst.work(frames.new_subscriber(FRAMES), control)))
            control.wait_for_end(_DRAIN)
    return 0


class _Analyst:
    """Look at each frame, count those that are missing, keep the newest."""

    def __init__(self, publisher: Publisher) -> None:
        self.newest: tuple[Result, memoryview] | None = None
        self._publisher = publisher
        self._detector = Detector()
        self._sequence = Sequence()
        self._bytes = 0

    def work(self, subscriber: Subscriber[Any], control: Control) -> End:
        """Publish a result for each frame; return what there is to say at their end."""
        patience = _START
        while True:
            envelope = control.patiently(subscriber.recv, patience, "no frame came")
            message, received_ns = to_frame(envelope.meta_data), time.monotonic_ns()
            if isinstance(message, End):
                return self._finish(message)
            self._look(message, envelope, received_ns, subscriber.stats.form)
            patience = _STALL

    def _look(self, frame: Frame, envelope: MsgEnvelope[Any], received_ns: int, form: str) -> None:
        self._sequence.see(frame.frame_number)
        view = envelope.view or memoryview(b"")
        self._bytes += view.nbytes
        defects = self._detector.find(to_image(frame, view), frame.overlays)
        result = self._describe(frame, received_ns, defects, form)
        self.newest = result, view  # before anybody learns of it
        self._publisher.publish(to_metadata(result))

    def _describe(self, frame: Frame, received_ns: int, defects: list[Defect], form: str) -> Result:
        now = time.monotonic_ns()
        return Result(
            img_handle=frame.img_handle,
            width=frame.width,
            height=frame.height,
            channels=frame.channels,
            frame_number=frame.frame_number,
            sent_ns=frame.sent_ns,
            received_ns=received_ns,
            analysed_ns=now,
            defects=defects,
            ingestion=frame.ingestion,
            analytics=Progress(self._sequence.seen, self._bytes, time.process_time_ns(), now),
            lost=self._sequence.lost,
            form=form,
        )

    def _finish(self, end: End) -> End:
        self._sequence.end(end.end_of_stream)
        return End(self._sequence.seen, self._sequence.lost + self._sequence.disordered, self._sequence.missing)


@contextmanager
def _answering(service: Service, analyst: _Analyst) -> Iterator[None]:
    """Answer requests in a thread of their own until the block ends."""
    thread = threading.Thread(target=_answer, args=(service, analyst), name="snapshot")
    thread.start()
    try:
        yield
    finally:
        service.close()
        thread.join()


def _answer(service: Service, analyst: _Analyst) -> None:
    for _ in service:
        if analyst.newest is None:
            service.response({"error": "no frame yet"})
        else:
            result, view = analyst.newest
            service.response((to_metadata(result), view))
