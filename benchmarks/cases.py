"""What is measured, against whom, and the marks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Literal

from benchmarks import brokered, by_hand, ours
from benchmarks.contenders import (
    COPY,
    COPY_AND_SMALL,
    ECAL,
    HAND,
    ICEORYX,
    ICEORYX_IN_PLACE,
    IDIOM,
    IN_PLACE,
    LEAST,
    NNG,
    OURS,
    PLAIN,
    SHARED,
    SOCKET,
    ZENOH,
    ZENOH_IN_PLACE,
    Roles,
    driven,
    of_frames,
    small,
)
from benchmarks.drive import Load
from benchmarks.pair import Window
from benchmarks.work import FRAME_RATE, SHAPE, SMALL_RATE

SMALL = Window(size=100, batches=4)
FRAMES = Window(size=1, batches=4)
LARGE = Window(size=1, batches=2)  # of 25 MB no more than two fit the 64 MiB that a publisher keeps for a subscriber
BLOBS = Window(size=4, batches=3)  # fewer than the 16 slots of shared memory, or some would go through the socket
ONE_BY_ONE = Window(size=10, batches=16)

Unit = Literal["1/s", "us", "us CPU"]
RATE: Unit = "1/s"
TIME: Unit = "us"
CPU: Unit = "us CPU"
SIZES = {"100kB": (100_000,), "1MB": (1_000_000,), "6MB": SHAPE, "25MB": (25_000_000,)}
INLINE = {f"{kib}KiB": kib * 1024 for kib in (4, 32, 64, 128, 256, 1024)}
INLINE_RATE = 100  # per second
SUBSCRIBERS = (1, 2, 4, 8)

Comparisons = tuple[tuple[str, str, float | None], ...]
"""Subject, peer, and the mark: the limit of subject/peer, of rates at least, of times and CPU at most."""


@dataclasses.dataclass(frozen=True)
class Case:
    """Name a question.

    `contenders` are pairs of the side that begins and the other one, the subject first. `unit` is what is measured:
    rates, times (the median) or the CPU time of the sender per message. `pace` is messages per second, 0 for as fast
    as the window lets them. `subscribers` are more than one for those that are named. A case with `few` sittings is
    for the pictures.
    """

    name: str
    title: str
    mode: str
    contenders: Mapping[str, Roles]
    comparisons: Comparisons
    window: Window
    unit: Unit = RATE
    pace: int = 0
    subscribers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    few: bool = False

    @property
    def group(self) -> str:
        """Return the name by which the case is chosen together with its siblings."""
        return self.name.partition("-")[0]


def _first_to(contenders: Mapping[str, Roles], marks: Mapping[str, float]) -> Comparisons:
    """Compare the first contender with each of the others."""
    subject, *peers = contenders
    return tuple((subject, peer, marks.get(peer)) for peer in peers)


def _small(mode: str, marks: dict[str, float], *others: str) -> Case:
    contenders = small(OURS, *marks, *others)
    return Case(*_named("small message", mode), mode, contenders, _first_to(contenders, marks), SMALL)


def _frame(mode: str, marks: dict[str, float], *others: str) -> Case:
    contenders = of_frames(OURS, *marks, *others)
    return Case(*_named("frame 6.2 MB", mode), mode, contenders, _first_to(contenders, marks), FRAMES)


def _named(what: str, mode: str) -> tuple[str, str]:
    group = what.partition(" ")[0]
    return (f"curve-{group}", f"{what}, tcp + CURVE") if mode == "curve" else (f"{group}-{mode}", f"{what}, {mode}")


def _in_place() -> Case:
    contenders = of_frames(IN_PLACE, HAND, ICEORYX_IN_PLACE, ZENOH_IN_PLACE)
    marks = (*_first_to(contenders, {HAND: 30, ICEORYX_IN_PLACE: 1}), (LEAST, ICEORYX_IN_PLACE, None))
    contenders |= of_frames(LEAST)
    return Case("place-ipc", "frame 6.2 MB in place, ipc", "ipc", contenders, marks, FRAMES)


def _request(mode: str) -> Case:
    contenders = {OURS: (ours.requester, ours.service), HAND: (by_hand.requester, by_hand.service)}
    marks = _first_to(contenders, {HAND: 1.25})
    return Case(f"request-{mode}", f"request/response, {mode}", mode, contenders, marks, ONE_BY_ONE, TIME)


def _brokered(what: str, opened: Callable[[str], Roles], window: Window) -> Case:
    contenders = {name: opened(name) for name in (brokered.BROKER, brokered.COUNTING, brokered.PROXY)}
    marks = ((brokered.BROKER, brokered.PROXY, 0.9), (brokered.COUNTING, brokered.PROXY, None))
    return Case(f"broker-{what.partition(' ')[0]}", f"{what} through a broker, ipc", "ipc", contenders, marks, window)


def _latency(what: str, load: Load, names: tuple[str, ...], marks: Comparisons = ()) -> Case:
    contenders = {name: driven(name, load) for name in names}
    title = f"one way, {what} at {load.pace} per second, ipc"
    versus = marks or _first_to(contenders, {})
    return Case(f"latency-{what}-ipc", title, "ipc", contenders, versus, ONE_BY_ONE, TIME, load.pace)


def _rate_by_size(size: str) -> Case:
    load = Load(SIZES[size])
    names = (OURS, IN_PLACE, HAND, ICEORYX, ICEORYX_IN_PLACE, ZENOH, COPY)
    contenders = {name: driven(name, load) for name in names}
    versus = _first_to(contenders, {})
    return Case(
        f"size-{size}",
        f"frame {_spaced(size)}, ipc",
        "ipc",
        contenders,
        versus,
        _window(size),
        few=True,
    )


def _latency_by_size(size: str) -> Case:
    """Compare a frame with a small message of its sender; of the frame the first and the last byte are looked at."""
    load = Load(SIZES[size], FRAME_RATE, every_page=False)
    small_message = "small message"
    contenders = {small_message: driven(OURS, Load(pace=FRAME_RATE))}
    contenders |= {name: driven(name, load) for name in (IN_PLACE, OURS, HAND, ICEORYX_IN_PLACE, ZENOH)}
    versus = tuple(
        (name, small_message, 1.5 if name == IN_PLACE else None) for name in contenders if name != small_message
    )
    title = f"one way, {_spaced(size)} untouched at {FRAME_RATE} per second"
    return Case(f"delay-{size}", title, "ipc", contenders, versus, _window(size), TIME, FRAME_RATE, few=True)


def _inline(size: str, unit: Unit) -> Case:
    """Compare shared memory with the socket: where they cross, blobs begin to be shared."""
    load = Load((INLINE[size],), INLINE_RATE if unit == TIME else 0)
    contenders = {name: driven(name, load) for name in (SHARED, SOCKET)}
    kind, what = ("time", "one way") if unit == TIME else ("rate", "rate")
    title = f"{what}, blob of {size.replace('KiB', ' KiB')}, ipc"
    versus = _first_to(contenders, {})
    return Case(f"inline-{kind}-{size}", title, "ipc", contenders, versus, BLOBS, unit, load.pace, few=True)


_FANS = {
    "cpu": (CPU, 0, "publisher's CPU, frame 6.2 MB to several, as fast as they take it, ipc"),
    "paced": (CPU, FRAME_RATE, f"publisher's CPU, frame 6.2 MB to several, at {FRAME_RATE} per second, ipc"),
    "time": (TIME, FRAME_RATE, "one way, frame 6.2 MB to several, ipc"),
}


def _by_subscribers(kind: str, name: str, marked: float | None = None) -> Case:
    """Compare each number of subscribers with half of it."""
    what, pace, title = _FANS[kind]
    counts = {f"{name}, {count} subscriber{'s' * (count > 1)}": count for count in SUBSCRIBERS}
    contenders = dict.fromkeys(counts, driven(name, Load(SHAPE, pace)))
    versus = tuple((more, less, marked) for less, more in itertools.pairwise(counts))
    case = f"fan-{kind}-{name.replace(' ', '-')}"
    return Case(case, title, "ipc", contenders, versus, FRAMES, what, pace, counts, few=True)


def _window(size: str) -> Window:
    return LARGE if size == "25MB" else FRAMES


def _spaced(size: str) -> str:
    return size.replace("kB", " kB").replace("MB", " MB")


_PAGES = Load(SHAPE, FRAME_RATE)

CASES = (
    _small("ipc", {HAND: 0.85, IDIOM: 1.7, PLAIN: 1.2}, ICEORYX, ZENOH, NNG, ECAL),
    _small("tcp", {HAND: 0.85, IDIOM: 1.7}),
    _frame("ipc", {COPY: 0.85, HAND: 1.7, IDIOM: 1.3}, SOCKET, ICEORYX, ZENOH, NNG, ECAL),
    _frame("tcp", {HAND: 0.95, IDIOM: 1.3}),
    _in_place(),
    _request("ipc"),
    _request("tcp"),
    Case(
        "asyncio",
        "asyncio, small message, ipc",
        "ipc",
        {
            OURS: (by_hand.small_sender, ours.async_receiver),
            "zmq.asyncio": (by_hand.small_sender, by_hand.async_receiver),
        },
        ((OURS, "zmq.asyncio", 1.5),),
        SMALL,
    ),
    _brokered("small message", brokered.small, SMALL),
    _brokered("frame 6.2 MB", brokered.of_frames, FRAMES),
    _small("curve", {HAND: 0.9}),
    _frame("curve", {HAND: 0.9}),
    _latency("small", Load(pace=SMALL_RATE), (OURS, HAND, ICEORYX, ZENOH, NNG, ECAL)),
    _latency(
        "frame",
        _PAGES,
        (OURS, IN_PLACE, COPY_AND_SMALL, HAND, ICEORYX, ICEORYX_IN_PLACE, ZENOH),
        (
            (OURS, COPY_AND_SMALL, 1.3),
            (OURS, HAND, None),
            (OURS, ICEORYX, None),
            (OURS, ZENOH, None),
            (IN_PLACE, ICEORYX_IN_PLACE, None),
        ),
    ),
    *(_rate_by_size(size) for size in SIZES if size != "6MB"),
    *(_latency_by_size(size) for size in SIZES),
    *(_inline(size, unit) for unit in (RATE, TIME) for size in INLINE),
    _by_subscribers("cpu", OURS, 1.1),
    *(_by_subscribers("cpu", name) for name in (IN_PLACE, HAND, ICEORYX, ICEORYX_IN_PLACE)),
    _by_subscribers("paced", OURS, 1.1),
    _by_subscribers("paced", ICEORYX),
    *(_by_subscribers("time", name) for name in (OURS, HAND, ICEORYX)),
)
