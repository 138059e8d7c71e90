"""What the two processes do: one publishes or serves, the other subscribes or asks. They show nothing."""

import dataclasses
import logging
import math
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from eis.msgbus import MsgbusContext, Publisher
from eis.msgbus.tools.bench.cases import NAME, Job

__all__ = ["Figures", "Line", "ask_and_subscribe", "publish_and_serve"]

_PATIENCE = 20.0  # seconds; the other side is gone, or hangs
_BATCHES = 4
_RATES = 0.55  # of the time; the rest is for the times of single messages
_WARM = 0.2  # of the time of the rates


class Line(Protocol):
    """Be one end of a pipe to another process, of whichever class the system has."""

    def send(self, obj: Any, /) -> None: ...
    def recv(self) -> Any: ...
    def send_bytes(self, buf: bytes, /) -> None: ...
    def recv_bytes(self) -> bytes: ...
    def poll(self, timeout: float, /) -> bool: ...
    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Figures:
    """Say what came of a case: messages in a second, the median of the times in seconds, in which form, and lost."""

    rate: float
    p50: float
    form: str
    lost: int


def publish_and_serve(orders: Line, other: Line) -> None:
    """Do the server's part of each job, until nobody orders any more."""
    _obey(orders, other, lambda job: _serve if job.requests else _publish)


def ask_and_subscribe(orders: Line, other: Line) -> None:
    """Do the client's part of each job, until nobody orders any more."""
    _obey(orders, other, lambda job: _ask if job.requests else _subscribe)


def _obey(orders: Line, other: Line, choose: Callable[[Job], Callable[..., Figures | None]]) -> None:
    logging.getLogger("eis.msgbus").setLevel(logging.CRITICAL)  # that tcp is plain text is what is measured
    try:
        while True:
            job: Job = orders.recv()
            orders.send(choose(job)(job, other))
    except (EOFError, OSError):  # who ordered, or the other side, is gone
        return
    except Exception as error:  # noqa: BLE001  # told by the process that shows
        orders.send(f"{type(error).__name__}: {error}")


# The server's part.


def _publish(job: Job, other: Line) -> None:
    with MsgbusContext(job.server) as bus:
        publisher = bus.new_publisher(NAME)
        publisher.wait_for_subscribers(1, timeout=_PATIENCE * 1000)
        send = _sender(job, publisher)
        on_their_way = 0
        end = time.monotonic() + job.seconds * _RATES
        while time.monotonic() < end:
            for _ in range(job.batch):
                send("rate")
            on_their_way += 1
            while on_their_way >= _BATCHES:
                _hear(other)
                on_their_way -= 1
        for _ in range(on_their_way):
            _hear(other)
        pause = threading.Event()
        for _ in range(max(3, int(job.seconds * (1 - _RATES) * job.per_second))):
            pause.wait(1 / job.per_second)
            send("time")
        publisher.publish({"phase": "end"})
        _hear(other)


def _sender(job: Job, publisher: Publisher) -> Callable[[str], None]:
    """Return what publishes one message; frames are neither filled nor made anew, but for the loan of one in place."""
    if not job.nbytes:
        return lambda phase: publisher.publish({"phase": phase})
    if job.in_place:
        return lambda phase: publisher.publish(({"phase": phase}, publisher.loan(job.nbytes)))
    frame = bytes(job.nbytes)
    return lambda phase: publisher.publish(({"phase": phase}, frame))


def _serve(job: Job, other: Line) -> None:
    with MsgbusContext(job.server) as bus:
        service = bus.new_service(NAME)
        while True:
            request = service.recv(timeout=_PATIENCE * 1000)
            service.response(request)
            if request.meta_data["phase"] == "end":
                break
        _hear(other)  # the answer has arrived


# The client's part.


def _subscribe(job: Job, other: Line) -> Figures:
    with MsgbusContext(job.client) as bus:
        subscriber = bus.new_subscriber(NAME)
        meter, times, form = _Meter(job), [], ""
        while (envelope := subscriber.recv(timeout=_PATIENCE * 1000)).meta_data["phase"] != "end":
            with envelope:
                if envelope.meta_data["phase"] == "rate":
                    if meter.count():
                        _tell(other)
                else:
                    times.append(envelope.latency or 0.0)
                    form = subscriber.stats.form
        figures = Figures(meter.rate, statistics.median(times), form, subscriber.stats.lost)
        _tell(other)
        return figures


class _Meter:
    """Count batches, after a first while in which memory and queues find their size."""

    def __init__(self, job: Job) -> None:
        self._batch, self._warm = job.batch, job.seconds * _RATES * _WARM
        self._messages = self._before = 0
        self._began = self._since = self._now = 0.0

    def count(self) -> bool:
        """Count a message; tell whether it is the last of its batch."""
        self._messages += 1
        if self._messages % self._batch:
            return False
        self._now = time.monotonic()
        if not self._began:
            self._began = self._since = self._now
        if not self._before and self._now > self._began + self._warm:
            self._before, self._since = self._messages, self._now
        return True

    @property
    def rate(self) -> float:
        """Return the messages per second; nan where the time was too short to know it."""
        return (self._messages - self._before) / (self._now - self._since) if self._now > self._since else math.nan


def _ask(job: Job, other: Line) -> Figures:
    with MsgbusContext(job.client) as bus:
        requester = bus.get_service(NAME)
        requester.request({"phase": "first"}, _PATIENCE * 1000)
        times: list[float] = []
        began = now = time.monotonic()
        while now < began + job.seconds:
            requester.request({"phase": "time"}, _PATIENCE * 1000)
            before, now = now, time.monotonic()
            times.append(now - before)
        requester.request({"phase": "end"}, _PATIENCE * 1000)
        _tell(other)
        return Figures(len(times) / (now - began), statistics.median(times), "", 0)


def _tell(other: Line) -> None:
    other.send_bytes(b".")


def _hear(other: Line) -> None:
    if not other.poll(_PATIENCE):
        raise TimeoutError(f"the other process is silent for {_PATIENCE:g} s")
    other.recv_bytes()
