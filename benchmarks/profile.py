"""Where the time of a small message goes: each step of publishing and of receiving alone, in one process.

The public call and the seams below it (`encode`, `Channel`, `Decoder`) are timed over batches, and what libzmq, msgspec
and the envelope take by themselves; what a row takes besides the rows above it is a difference of two of these.
Messages go out one by one: a pause before each batch keeps the publisher from a hurry, in which they share frames.
"""

from __future__ import annotations

import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import zmq

import eis.msgbus as mb
from benchmarks import by_hand, ours
from benchmarks.contest import Outcome, Standing, figure
from benchmarks.drive import decode, encode
from benchmarks.in_place import steps_in_place
from benchmarks.place import NAME, Place, new_place
from benchmarks.work import small_message
from eis.msgbus import _wire

_BATCH = 320  # messages; far fewer than a queue holds
_ARRIVAL = 0.01  # seconds in which a batch has arrived: only then is it taken out

Steps = dict[str, float]


def profile(repeats: int, progress: Callable[[str], None]) -> list[Outcome]:
    """Measure the steps of both sides, in microseconds per message."""
    with ExitStack() as stack:
        place, other = (new_place("ipc", stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        bus = stack.enter_context(_Bus.opened(place))
        form, frames = bus.frames_on_the_wire()
        hand = stack.enter_context(_by_hand(other, frames))
        sent: list[Steps] = []
        received: list[Steps] = []
        for number in range(10 * repeats):
            progress(f"profile: round {number + 1} of {10 * repeats}")
            hand_out, hand_in = hand()
            sent.append(bus.sending(hand_out, form))
            received.append(bus.receiving(hand_in))
    about = f"{form} form, {len(frames)} frame{'s' * (len(frames) > 1)}"
    return [
        _outcome(f"steps of publishing, {about}", sent),
        _outcome(f"steps of receiving, {about}", received),
        *steps_in_place(repeats, progress),
    ]


def _outcome(title: str, rounds: list[Steps]) -> Outcome:
    standings = {step: Standing(figure([each[step] for each in rounds]), (0.0, 0.0)) for step in rounds[0]}
    return Outcome("profile", title, "us", standings, [])


class _Bus:
    """Hold a publisher and its subscriber, and time their steps."""

    def __init__(self, publisher: mb.Publisher, subscriber: mb.Subscriber[Any]) -> None:
        self.publisher = publisher
        self.subscriber = subscriber
        self.name = _wire.encode_name("bench")
        self.message = small_message()
        self.data = encode(self.message)

    @classmethod
    @contextmanager
    def opened(cls, place: Place) -> Iterator[_Bus]:
        """Open both in this process, and let them settle on how they talk."""
        with ours.subscriber(place) as subscriber, ours.publisher(place) as publisher:
            bus = cls(publisher, subscriber)
            for _ in range(10):
                _each(publisher.publish, bus.message)
                bus.take_all()
            yield bus

    def frames_on_the_wire(self) -> tuple[str, list[bytes]]:
        """Return how messages arrive, and frames as long as those that carry them."""
        self.publisher.publish(self.message)
        (arrived,) = self._receive(1)
        if isinstance(arrived, list | tuple):
            return "plain", [bytes(frame) for frame in arrived]
        return "native", [_stamped(self.data)]

    def take_all(self) -> None:
        """Receive a batch, without the clock."""
        for _ in range(_BATCH):
            self.subscriber.recv()

    def sending(self, hand: float, form: str) -> Steps:
        """Return what each step of publishing takes."""
        frames = _wire.encode(self.name, self.message)
        _pause()
        whole = _each(self.publisher.publish, self.message)
        self.take_all()
        _pause()
        channel = _each(self.publisher._channel.send, frames)
        self.take_all()
        framed = _each(lambda message: _wire.encode(self.name, message), self.message) - _CALL
        json = _each(encode, self.message)
        header = {"header: clocks, stamp, one frame": _each(_stamped, self.data) - _CALL} if form == "native" else {}
        return {
            "JSON by msgspec": json,
            "look at the values, make frames": framed - json,
            **header,
            "hand to libzmq": hand,
            "lock, subscriptions, counts": channel - hand - sum(header.values()),
            "the call of publish": whole - framed - channel,
            "publish, whole": whole,
        }

    def receiving(self, hand: float) -> Steps:
        """Return what each step of receiving takes."""
        _each(self.publisher.publish, self.message)
        _pause()
        whole = _timed(self.take_all)
        _each(self.publisher.publish, self.message)
        _pause()
        start = time.perf_counter()
        arrived = self._receive(_BATCH)
        channel = (time.perf_counter() - start) / _BATCH * 1e6
        taken: list[Any] = []
        decoded = _timed(lambda: list(self.subscriber._decode.each(arrived, taken.append)))
        json = _each(decode, self.data)
        envelope = _each(lambda message: mb.MsgEnvelope(message, None, "bench"), self.message) - _CALL
        return {
            "take from libzmq": hand,
            "lock, batch, parse": channel - hand,
            "JSON by msgspec": json,
            "envelope": envelope,
            "names and checks": decoded - json - envelope,
            "the call of recv": whole - channel - decoded,
            "recv, whole": whole,
        }

    def _receive(self, count: int) -> list[Any]:
        arrived: list[Any] = []
        while len(arrived) < count:
            arrived += self.subscriber._channel.receive()
        return arrived


@contextmanager
def _by_hand(place: Place, frames: list[bytes]) -> Iterator[Callable[[], tuple[float, float]]]:
    """Time libzmq itself with these frames, and one look at the flag of the last."""
    with by_hand.open_socket(zmq.SUB, place) as reader, by_hand.publisher(place) as writer:
        send, _ = by_hand.backend(writer)
        _, recv = by_hand.backend(reader)
        *first, last = [NAME.encode() + frame for frame in frames]

        def send_one(_: None) -> None:
            for frame in first:
                send(frame, by_hand.MORE)
            send(last, 0)

        def recv_one(_: None) -> None:
            for _frame in frames:
                recv()

        def both() -> tuple[float, float]:
            out = _each(send_one, None)
            _pause()
            return out, _each(recv_one, None)

        yield both


def _each(step: Callable[[Any], Any], argument: Any) -> float:
    """Return the microseconds of one of a batch of calls."""
    start = time.perf_counter()
    for _ in range(_BATCH):
        step(argument)
    return (time.perf_counter() - start) / _BATCH * 1e6


def _timed(batch: Callable[[], Any]) -> float:
    start = time.perf_counter()
    batch()
    return (time.perf_counter() - start) / _BATCH * 1e6


def _pause() -> None:
    threading.Event().wait(_ARRIVAL)


def _stamped(data: bytes) -> bytes:
    """Return a frame with a header like that of a native stream: prefix, number and two times, then the metadata."""
    now = time.monotonic_ns()
    return _PREFIX + _STAMP.pack(1, time.time_ns(), now, 0, 0, 0, 1) + data


def _nothing(_: Any) -> None:
    """Cost what a lambda costs."""


_PREFIX = bytes(17)  # mark, form, name and NUL, version, epoch
_STAMP = struct.Struct("<QqqBHBH")
_CALL = min(_each(_nothing, None) for _ in range(20))
