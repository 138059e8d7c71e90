"""Say it once, aloud, where messages go over the network as plain text. Does not know what is in them."""

from __future__ import annotations

import logging
import threading

from eis.msgbus.transports.zmq.plan import Plan

__all__ = ["warn_of_plain_text"]

_log = logging.getLogger("eis.msgbus.zmq")
_lock = threading.RLock()
_told: set[str] = set()  # addresses, in this process


def warn_of_plain_text(plan: Plan) -> None:
    """Warn if this is TCP without keys, the first time that it is this address."""
    if plan.keys or not plan.endpoint.startswith("tcp://"):
        return
    with _lock:
        if plan.address in _told:
            return
        _told.add(plan.address)
    who = (
        "whoever reaches this port reads and sends" if plan.bind else "whoever is there, or on the way, reads and sends"
    )
    what_to_do = "give both sides keys (docs/howto/secure-tcp.md), and set require_encryption"
    _log.warning("%s: plain text, without keys: %s everything; %s", plan.address, who, what_to_do)
