"""Good input made bad: bytes, frames and configurations with something changed at random. Knows nothing of the bus."""

import copy
import random
from collections.abc import Sequence
from typing import Any

__all__ = ["changed_bytes", "changed_config", "changed_frames"]

_JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 65536, 2**31, 2**64, 10**400, 1.5, float("nan"), float("inf")),
    *("", "x", "@", "*", "../x", "\0", "\ud800", "ü" * 200, "127.0.0.1", b"x", [], [[]], {}, {"": {}}, ["x", 5]),
    {"file": "/does/not/exist"},
    {"env": "DOES_NOT_EXIST"},
    {"env": "\udb00"},
    {1: 2},
)
_FRAMES = (b"", b"\0", b"\1", b"\2", b"\xff", b"{}")


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with some bytes changed, cut, doubled or inserted."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        end = rng.randint(at, min(len(data), at + rng.choice((1, 1, 8, 300))))
        data = data[:at] + rng.choice((b"", data[at:end] * 2, rng.randbytes(end - at), b"\xff" * 9)) + data[end:]
    return data


def changed_frames(frames: Sequence[bytes], rng: random.Random) -> list[bytes]:
    """Return the frames of a message, at least one, with some of them changed, left out, doubled or in other places."""
    result = list(frames)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(result))
        how = rng.randrange(4)
        if how == 0:
            result[at] = changed_bytes(result[at], rng)
        elif how == 1 and len(result) > 1:
            del result[at]
        elif how == 2:
            result.insert(
                at, rng.choice((b"", b"\0", b"\1", b"\2", b"\xff", b"{}", rng.randbytes(rng.choice((3, 900)))))
            )
        else:
            rng.shuffle(result)
    return result


def changed_config(config: dict[str, Any], rng: random.Random) -> Any:
    """Return a copy of a configuration with something changed, left out, renamed or added, at any depth."""
    result = copy.deepcopy(config)
    for _ in range(rng.randint(1, 3)):
        place = result
        while (
            inner := [value for value in place.values() if isinstance(value, dict) and value]
        ) and rng.random() < 0.6:
            place = rng.choice(inner)
        _change(place, rng)
    return result if rng.random() < 0.98 else rng.choice(_JUNK)


def _change(place: dict[Any, Any], rng: random.Random) -> None:
    keys = list(place)
    key = rng.choice(keys) if keys else "x"
    how = rng.randrange(4)
    if how == 0:
        place.pop(key, None)
    elif how == 1:
        place[key] = rng.choice(_JUNK)
    elif how == 2:
        place[rng.choice(("", "x", "@x", "zmq_x", "topics", "hosts", "camera1", 5, key))] = place.get(key)
    elif isinstance(place.get(key), str):
        place[key] = place[key][: rng.randint(0, 60)] + rng.choice(("", "x", "\0", " "))
