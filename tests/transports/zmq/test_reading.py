"""Frames of requests and replies, read with few calls: where a message ends is never guessed."""

from collections.abc import Callable
from typing import Any

import pytest
import zmq

from eis.msgbus.transports.zmq.reading import read_reply, read_request
from tests.transports.zmq.helpers import GOOD

WAY = [b"client", b""]


def received(*messages: list[bytes], after: int = zmq.EAGAIN) -> tuple[Callable[..., bytes], Callable[[], int]]:
    """Return `recv` and `more` of a socket in which these messages wait, and which then raises the error `after`."""
    frames = [(frame, index + 1 < len(message)) for message in messages for index, frame in enumerate(message)]
    last: list[bool] = []

    def recv(flags: int, **_: Any) -> Any:
        assert flags == zmq.NOBLOCK
        if not frames:
            raise zmq.ZMQError(after)
        frame, more = frames.pop(0)
        last[:] = [more]
        return frame

    return recv, lambda: last[0]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_reply_ends_where_the_socket_reads_no_further(length: int) -> None:
    assert read_reply(*received(GOOD[:length], after=zmq.EFSM)) == GOOD[:length]


def test_error_in_the_middle_of_a_reply_is_not_its_end() -> None:
    with pytest.raises(zmq.ZMQError, match="terminated"):
        read_reply(*received(GOOD[:2], after=zmq.ETERM))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4])
def test_short_request_takes_no_frame_of_the_next(length: int) -> None:
    recv, more = received([*WAY, *GOOD[:length]], [*WAY, *GOOD])
    assert read_request(recv, more) == (GOOD[:length], WAY)
    assert read_request(recv, more) == (GOOD, WAY)


def test_request_without_an_empty_frame_is_none_and_goes_back_to_who_sent_it() -> None:
    recv, more = received([b"client", b"x", b"y"], [b"client", b"broker", b"", *GOOD])
    assert read_request(recv, more) == ([], [b"client"])
    assert read_request(recv, more) == (GOOD, [b"client", b"broker", b""])
