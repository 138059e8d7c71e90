"""How far streams have come, by their numbers alone; what publishers make up does not fill the memory."""

import subprocess
import sys
import time

import pytest

from eis.msgbus._wire.native import STAMP_BYTES, WHOLE, Ask, Hello, read_hello, stream_prefix
from eis.msgbus.transports.zmq.streams import Streams, machine


def message(epoch: int) -> bytes:
    return stream_prefix(WHOLE, b"camera1\0", epoch) + bytes(STAMP_BYTES)


def test_topics_of_an_answer_are_forgotten_when_their_names_are_too_long() -> None:
    streams = Streams()
    streams.greeted(Hello(1, "w", "", {"x" * 513: 4, "x" * 512: 4}))
    assert list(streams._topics) == ["x" * 512]


@pytest.mark.parametrize("sequence", ["-1", str(2**63), "9" * 4000])
def test_answer_is_none_when_a_number_in_it_is_none_of_a_message(sequence: str) -> None:
    ask = Ask(b"12345678", WHOLE, b"camera1")
    sound = Hello(1, "whole", "", {"camera1": 2**63 - 1}).answer(ask)
    assert read_hello(sound, ask) is not None
    assert read_hello(sound.replace(str(2**63 - 1).encode(), sequence.encode()), ask) is None


def test_restarts_without_end_do_not_fill_the_memory() -> None:
    streams = Streams()
    for epoch in range(1, 1001):
        streams.find(message(epoch))
    assert (streams.restarts, len(streams._topics), len(streams._epochs)) == (999, 1, 64)


def test_latencies_are_those_of_the_last_thousand_messages() -> None:
    streams = Streams()
    stream = streams.find(message(1))
    assert stream is not None
    for sequence in range(1, 1501):
        streams.take(stream, (sequence, time.time_ns(), time.monotonic_ns(), 0, 0, 0, 1))
    assert len(streams.latencies) == 1000


def test_machine_is_known_when_nothing_can_be_imported_any_more() -> None:
    """As in a program that became a user who may not read Python's files."""
    program = "import sys; from eis.msgbus.transports.zmq.streams import machine; sys.path[:] = []; print(machine())"
    program = program.replace("; print", "; sys.path_importer_cache.clear(); sys.meta_path[:] = []; print")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.stdout, ended.stderr) == (f"{machine()}\n", "")
