"""Times in the metadata, which the original's profilers read, where `PROFILING_MODE` says so. Knows no endpoint.

Whether they are wanted is decided once, when an endpoint is opened: where they are not, they cost nothing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from eis.msgbus._wire.frames import JSON, Frames
from eis.msgbus.envelope import MsgEnvelope

__all__ = ["received", "sent"]

M = TypeVar("M")

_log = logging.getLogger("eis.msgbus")
_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])  # every other value goes on as it is, byte for byte


def sent(send: Callable[[Frames], None]) -> Callable[[Frames], None]:
    """Return `send`, or what puts `<AppName>_publisher_ts` into the metadata before."""
    if not (key := _key("publisher")):
        return send

    def send_stamped(frames: Frames) -> None:
        if frames[1] == JSON:  # else it has no metadata
            name, kind, count, metadata, *blobs = frames
            frames = [name, kind, count, _stamped(metadata, key), *blobs]
        send(frames)

    return send_stamped


def received(keep: Callable[[MsgEnvelope[M]], None]) -> Callable[[MsgEnvelope[M]], None]:
    """Return `keep`, or what puts `<AppName>_subscriber_ts` into the metadata before, if that is a dict."""
    if not (key := _key("subscriber")):
        return keep

    def keep_stamped(envelope: MsgEnvelope[M]) -> None:
        if isinstance(envelope.meta_data, dict):
            envelope.meta_data[key] = _now()
        keep(envelope)

    return keep_stamped


def _key(kind: str) -> str:
    if os.environ.get("PROFILING_MODE", "").lower() != "true":
        return ""
    if not (app := os.environ.get("AppName")):  # noqa: SIM112  # the original's name
        _log.warning("PROFILING_MODE is true, but AppName is not set: no times are added to the metadata")
        return ""
    return f"{app}_{kind}_ts"


def _stamped(metadata: Any, key: str) -> bytes:
    values: dict[str, Any] = _raw.decode(metadata)
    values[key] = _now()
    return msgspec.json.encode(values)


def _now() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
