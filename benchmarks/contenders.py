"""Who can be measured: names, and the two sides of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks import by_hand, drive, frames, idiom, least, ours
from benchmarks.drive import FRAME, SMALL, Load
from benchmarks.peers import ecal, iceoryx, nng, zenoh
from benchmarks.work import Role

Roles = tuple[Role, Role]

OURS, IN_PLACE, PLAIN, SOCKET = "eis.msgbus", "eis.msgbus in place", "eis.msgbus plain form", "eis.msgbus by socket"
SHARED = "eis.msgbus by shared memory"
HAND, IDIOM, COPY, COPY_AND_SMALL = "pyzmq by hand", "pyzmq idiom", "memory copy", "memory copy + small message"
ZENOH, ZENOH_IN_PLACE, NNG, ECAL = "Zenoh", "Zenoh in place", "nng", "eCAL"
ICEORYX, ICEORYX_IN_PLACE = "iceoryx2", "iceoryx2 in place"
LEAST = "the least in Python"

GUESTS = frozenset({ZENOH, ZENOH_IN_PLACE, NNG, ECAL, ICEORYX, ICEORYX_IN_PLACE})
"""Libraries of others: one that fails is told in the table."""

_SIDES: Mapping[str, tuple[drive.OpenSender, drive.OpenReceiver]] = {
    OURS: (frames.open_sender, frames.open_receiver),
    IN_PLACE: (frames.open_sender_in_place, frames.open_receiver),
    SHARED: (frames.open_sender_shared, frames.open_receiver),
    SOCKET: (
        partial(frames.open_sender, without="shared_memory"),
        partial(frames.open_receiver, without="shared_memory"),
    ),
    HAND: (frames.open_sender_by_hand, frames.open_receiver_by_hand),
    ICEORYX: (iceoryx.open_sender, iceoryx.open_receiver),
    ICEORYX_IN_PLACE: (partial(iceoryx.open_sender, in_place=True), iceoryx.open_receiver),
    ZENOH: (zenoh.open_sender, zenoh.open_receiver),
    ZENOH_IN_PLACE: (partial(zenoh.open_sender, in_place=True), zenoh.open_receiver),
    NNG: (nng.open_sender, nng.open_receiver),
    LEAST: (least.open_sender, least.open_receiver),
    ECAL: (ecal.open_sender, ecal.open_receiver),
}

_PLAIN: dict[str, Any] = {"without": "native"}

SMALL_ROLES: Mapping[str, Roles] = {
    OURS: (ours.small_sender, ours.small_receiver),
    PLAIN: (partial(ours.small_sender, **_PLAIN), partial(ours.small_receiver, **_PLAIN)),
    HAND: (by_hand.small_sender, by_hand.small_receiver),
    IDIOM: (idiom.small_sender, idiom.small_receiver),
}

FRAME_ROLES: Mapping[str, Roles] = {
    OURS: (ours.frame_sender, ours.frame_receiver),
    HAND: (by_hand.frame_sender, by_hand.frame_receiver),
    IDIOM: (idiom.frame_sender, idiom.frame_receiver),
}


def driven(name: str, load: Load) -> Roles:
    """Return the two sides of a contender that works under any load."""
    if name == COPY:
        return partial(frames.copying, load), frames.nothing
    if name == COPY_AND_SMALL:
        return partial(frames.paced_copying_sender, load), partial(frames.paced_copying_receiver, load)
    opens, receives = _SIDES[name]
    return partial(drive.sender, opens, load), partial(drive.receiver, receives, load)


def small(*names: str) -> dict[str, Roles]:
    """Return who sends small messages."""
    return {name: SMALL_ROLES.get(name) or driven(name, SMALL) for name in names}


def of_frames(*names: str) -> dict[str, Roles]:
    """Return who sends frames of 6.2 MB."""
    return {name: FRAME_ROLES.get(name) or driven(name, FRAME) for name in names}
