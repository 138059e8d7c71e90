"""What is measured, against whom, and the marks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from benchmarks import by_hand, idiom, ours
from benchmarks.pair import Window
from benchmarks.work import FRAME_RATE, SMALL_RATE, Role

SMALL = Window(size=100, batches=4)
FRAMES = Window(size=1, batches=4)
ONE_BY_ONE = Window(size=10, batches=1000)

OURS, HAND, IDIOM = "eis.msgbus", "pyzmq by hand", "pyzmq idiom"


@dataclasses.dataclass(frozen=True)
class Case:
    """Name a question.

    `contenders` are pairs of the side that begins and the other one, ours first. `marks` are the limits of the ratio
    ours/peer: of rates at least, of times (`timed`: the median) at most. `pace` is messages per second, 0 for as fast
    as the window lets them.
    """

    name: str
    title: str
    mode: str
    contenders: Mapping[str, tuple[Role, Role]]
    marks: Mapping[str, float]
    window: Window
    timed: bool = False
    pace: int = 0

    @property
    def group(self) -> str:
        """Return the name by which the case is chosen together with its siblings."""
        return self.name.partition("-")[0]


def _small(mode: str, **marks: float) -> Case:
    contenders = {
        OURS: (ours.small_sender, ours.small_receiver),
        HAND: (by_hand.small_sender, by_hand.small_receiver),
        IDIOM: (idiom.small_sender, idiom.small_receiver),
    }
    return _stream("small message", mode, contenders, marks)


def _frame(mode: str, **marks: float) -> Case:
    contenders = {
        OURS: (ours.frame_sender, ours.frame_receiver),
        HAND: (by_hand.frame_sender, by_hand.frame_receiver),
        IDIOM: (idiom.frame_sender, idiom.frame_receiver),
    }
    return _stream("frame 6.2 MB", mode, contenders, marks)


def _stream(what: str, mode: str, contenders: Mapping[str, tuple[Role, Role]], marks: Mapping[str, float]) -> Case:
    """Measure the rate against the peers that have a mark."""
    named = {{"hand": HAND, "idiom": IDIOM}[peer]: mark for peer, mark in marks.items()}
    chosen = {name: roles for name, roles in contenders.items() if name == OURS or name in named}
    group = what.partition(" ")[0]
    name = f"curve-{group}" if mode == "curve" else f"{group}-{mode}"
    where = "tcp + CURVE" if mode == "curve" else mode
    return Case(name, f"{what}, {where}", mode, chosen, named, SMALL if group == "small" else FRAMES)


def _request(mode: str) -> Case:
    contenders = {OURS: (ours.requester, ours.service), HAND: (by_hand.requester, by_hand.service)}
    return Case(f"request-{mode}", f"request/response, {mode}", mode, contenders, {HAND: 1.25}, ONE_BY_ONE, timed=True)


def _latency(what: str, mode: str, pace: int) -> Case:
    if what == "small":
        roles, peers = ours.paced_small_sender, by_hand.paced_small_sender
    else:
        roles, peers = ours.paced_frame_sender, by_hand.paced_frame_sender
    contenders = {OURS: (roles, ours.timing_receiver), HAND: (peers, by_hand.timing_receiver)}
    title = f"one way, {what} at {pace} per second, {mode}"
    return Case(f"latency-{what}-{mode}", title, mode, contenders, {}, ONE_BY_ONE, timed=True, pace=pace)


CASES = (
    _small("ipc", hand=0.85, idiom=1.7),
    _small("tcp", hand=0.85, idiom=1.7),
    _frame("ipc", hand=0.95, idiom=1.3),
    _frame("tcp", hand=0.95, idiom=1.3),
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
        {"zmq.asyncio": 1.5},
        SMALL,
    ),
    _small("curve", hand=0.9),
    _frame("curve", hand=0.9),
    _latency("small", "ipc", SMALL_RATE),
    _latency("frame", "ipc", FRAME_RATE),
)
