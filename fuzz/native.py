"""Any frames and notices to a subscriber of native streams: each is handed out or refused, and the good ones come.

Run by `make fuzz`; knows no sockets: what libzmq would hand over lies in a list.
"""

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["eis.msgbus"]):
    import zmq

    from eis.msgbus import InvalidMessage, MsgEnvelope
    from eis.msgbus._wire import Decoder
    from eis.msgbus._wire.native import SHARED, STAMP_BYTES, WHOLE, Ask, Hello, pack_batch, pack_stamp, stream_prefix
    from eis.msgbus.transports.zmq.reader import MessageReader

ASK = Ask(b"12345678", WHOLE, b"")
PREFIXES = tuple(stream_prefix(form, name, 7) for form in (WHOLE, SHARED, b"m") for name in (b"camera1\0", b"\0"))
HELLO = Hello(7, "w", "", {"camera1": 4}).answer(ASK)
BATCH = pack_batch(PREFIXES[0], (1, 1, 1, 0, 0, 0, 1), [1, 2], [b"{}", b'{"n":2}'])
GOOD = PREFIXES[0] + pack_stamp(1, 1, 1, 0, 0, 0, 1) + b'{"good":1}'
PLAIN = [b"camera1\0", b"\0", b"\1", b'{"plain":1}']
HEADS = (b"", HELLO, *PREFIXES, GOOD, BATCH, BATCH[: len(PREFIXES[0]) + STAMP_BYTES])


class Socket:
    """Be the socket of a reader: frames, with the flag that says whether more of their message follow."""

    def __init__(self, messages: list[list[bytes]]) -> None:
        self.frames = [(frame, place < len(message) - 1) for message in messages for place, frame in enumerate(message)]
        self._more = False

    def recv(self, _flags: int, copy: bool = True) -> Any:  # as pyzmq's
        if not self.frames:
            raise zmq.Again
        frame, self._more = self.frames.pop(0)
        if copy:
            return frame
        whole = zmq.Frame(frame)
        whole.more = self._more
        return whole

    def more(self) -> int:
        return int(self._more)


def messages_of(data: bytes) -> list[list[bytes]]:
    """Return some messages, some of which could be good."""
    provider = atheris.FuzzedDataProvider(data)
    messages: list[list[bytes]] = []
    while provider.remaining_bytes() and len(messages) < 8:
        message = []
        for _ in range(provider.ConsumeIntInRange(1, 4)):
            rest = provider.ConsumeBytes(provider.ConsumeIntInRange(0, 60))
            head = HEADS[provider.ConsumeIntInRange(0, len(HEADS) - 1)]
            message.append(head + rest)
        messages.append(message)
    return messages


def check(data: bytes) -> None:
    """Read all, and see that every message is accounted for and the good ones at the end have come."""
    messages = messages_of(data)
    notices = [messages.pop()[0] for _ in range(len(data) % 3) if messages]
    socket = Socket([*messages, PLAIN, [GOOD]])
    reader = MessageReader(
        socket.recv,
        socket.more,
        has_news=lambda: bool(socket.frames),
        greeted=lambda _: None,
        lease=_lease,
        waits=lambda: bool(notices),
    )
    reader.ask = ASK
    taken: list[MsgEnvelope[Any]] = []
    decode: Decoder[Any] = Decoder()
    while socket.frames or reader.held is not None:
        if reader.held is not None and notices:
            reader.take_notice(notices.pop())
        elif reader.held is not None:
            reader.take_held()
        else:
            reader.read(idle=bool(len(data) % 2))
        for problem in decode.each(reader.batch, taken.append):
            assert isinstance(problem, InvalidMessage)
        reader.batch = []
    assert taken[-1].meta_data == {"good": 1}
    assert any(envelope.meta_data == {"plain": 1} for envelope in taken)
    assert reader.streams.lost >= 0


def _lease(descriptor: bytes, _noticed: bool) -> None:
    """Refuse one half of the descriptors, and have lost the other."""
    if sum(descriptor) % 2:
        raise InvalidMessage("no descriptor")


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
