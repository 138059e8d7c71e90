"""Any bytes as the frames of messages: they are decoded or refused, and what is decoded comes back as it was.

Run by `make fuzz`; knows no sockets.
"""

import contextlib
import dataclasses
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["eis.msgbus"]):
    from eis.msgbus import InvalidMessage, MsgEnvelope
    from eis.msgbus._wire import Decoder, decode, encode, encode_name
    from eis.msgbus.transports.zmq.reading import split_short

NAME = b"camera1\0"
HEADER: tuple[bytes, ...] = (NAME, b"\0", b"\1", b"\2", b"\3", b"", b"{}", b'{"x":1}')


@dataclasses.dataclass
class Point:
    """Be the type of a typed subscriber."""

    x: int
    path: list[float] | None = None


read_point: Decoder[Point] = Decoder(Point)


def frames_of(data: bytes) -> list[bytes]:
    """Return some frames, some of which could be those of a message."""
    provider = atheris.FuzzedDataProvider(data)
    frames: list[bytes] = []
    while provider.remaining_bytes() and len(frames) < 12:
        if provider.ConsumeBool():
            frames.append(HEADER[provider.ConsumeIntInRange(0, len(HEADER) - 1)])
        else:
            frames.append(provider.ConsumeBytes(provider.ConsumeIntInRange(0, 200)))
    return frames


def check(data: bytes) -> None:
    """Decode, and compare what comes back."""
    for frames in (frames_of(data), [NAME, b"\0", b"\1", data]):
        with contextlib.suppress(InvalidMessage):
            read_point(frames)
        with contextlib.suppress(InvalidMessage):
            check_round_trip(decode(frames))
        taken: list[MsgEnvelope[Any]] = []
        refused = list(Decoder().each([frames, frames], taken.append))
        assert len(taken) + len(refused) == 2
        if frames:
            assert [frame for message in split_short(list(frames)) for frame in message] == frames


def check_round_trip(envelope: MsgEnvelope[Any]) -> None:
    """Encode again what was decoded; a name with a NUL inside has no way back."""
    assert envelope.name is not None
    if "\0" not in envelope.name:
        again = decode([bytes(frame) for frame in encode(encode_name(envelope.name), envelope)])
        assert (again.name, again) == (envelope.name, envelope)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
