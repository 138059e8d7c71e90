"""D5, D6, F3: shared frames: forged, written at full speed, read late, and left by programs that are killed."""

import contextlib
import dataclasses
import fcntl
import os
import random
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eis.msgbus._waiting import Deadline
from eis.msgbus.exceptions import InvalidMessage
from tests.reliability.conftest import Effort, Record
from tests.reliability.ring import Rules, Torn, explore
from tests.transports.zmq.conftest import Start
from tests.transports.zmq.helpers import Program, until

if sys.platform != "linux":
    pytest.skip("shared frames need Linux", allow_module_level=True)

from eis.msgbus.transports.zmq.shared import Fetcher, HandOut, Pool
from eis.msgbus.transports.zmq.shared.descriptor import pack, unpack
from eis.msgbus.transports.zmq.shared.memory import SEALS, Shape, make

NONCE = b"12345678"
WORDS = 8192  # of eight bytes, in a frame: 64 KiB

READER = """
import random, socket, time
from eis.msgbus.transports.zmq.shared import Fetcher, memory
for protection in config["without"]:
    setattr(memory.Memory, protection, lambda *_: True)
fetcher = Fetcher.connect(config["path"], b"12345678")
channel = socket.socket(fileno=config["channel"])
print("ready")
late = random.Random(config["seed"])
read = lost = torn = 0
while read < config["reads"] and not (torn and config["without"]):
    message = channel.recv(100)
    number, lease = message[:8], fetcher.lease(message[8:])
    if lease is None:
        lost += 1
        continue
    read += 1
    expected = number * config["words"]
    whole = bytes(lease.views[0]) == expected
    for _ in range(late.choice((0, 0, 10, 1000, 10000))):
        pass
    torn += not (whole and bytes(lease.views[0]) == expected)
    lease.release()
fetcher.close()
print("done", json.dumps([read, lost, torn]))
"""

HOLDER = """
import select
from eis.msgbus.transports.zmq.shared import Fetcher
fetcher = Fetcher.connect(config["path"], b"12345678")
print("connected")
select.select([fetcher._connection], [], [], 15)
leases = [fetcher.lease(bytes.fromhex(each)) for each in config["descriptors"]]
assert None not in leases
print("holds")
signal.pause()
"""

WRITER = """
import socket
from eis.msgbus.transports.zmq.shared import HandOut, Pool
hand_out = HandOut(config["path"])
pool = Pool(3, made=hand_out.offer)
channel = socket.socket(fileno=config["channel"])
print("open")
channel.recv(1)
assert hand_out.serve(b"12345678")
number = 0
while True:
    number += 1
    frame = number.to_bytes(8, "little")
    descriptor = pool.put([frame * config["words"]])
    if descriptor is not None:
        channel.send(frame + descriptor)
"""


@pytest.fixture
def hand_out(socket_dir: Path) -> Iterator[HandOut]:
    with contextlib.closing(HandOut(str(socket_dir / "frames"))) as opened:
        yield opened


@pytest.fixture
def pool(hand_out: HandOut) -> Iterator[Pool]:
    with contextlib.closing(Pool(3, made=hand_out.offer)) as opened:
        yield opened


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends between which few descriptors have room, so that a reader is just behind the writer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    with ours, theirs:
        yield ours, theirs


def fetched(hand_out: HandOut) -> Fetcher:
    fetcher = Fetcher.connect(hand_out._file.path, NONCE)
    assert fetcher is not None
    assert hand_out.serve(NONCE)
    return fetcher


def frame(number: int) -> bytes:
    return number.to_bytes(8, "little")


def written_to(pool: Pool, ours: socket.socket, reader: Program) -> list[int]:
    """Publish at full speed until the reader is done; return how many it read, lost, and found torn."""
    ours.setblocking(False)
    deadline, number = Deadline(600), 0
    while not (told := [line for line in reader._lines if line.startswith("done")]):
        assert deadline.left(), "it did not end in time"
        assert not reader.process.poll(), reader.ends()
        for _ in range(100):
            number += 1
            descriptor = pool.put([frame(number) * WORDS])
            if descriptor is not None:
                with contextlib.suppress(BlockingIOError, BrokenPipeError):
                    ours.send(frame(number) + descriptor)
    return [int(count) for count in told[0][6:-1].split(",")]


def reading(start: Start, hand_out: HandOut, theirs: socket.socket, **how: Any) -> Program:
    told = {"path": hand_out._file.path, "channel": theirs.fileno(), "words": WORDS, "without": [], **how}
    program = start(READER, told, pass_fds=(theirs.fileno(),))
    program.line("ready")
    assert hand_out.serve(NONCE)
    return program


def test_no_frame_is_torn_when_it_is_written_at_full_speed_and_read_late(
    hand_out: HandOut,
    pool: Pool,
    channel: tuple[socket.socket, socket.socket],
    start: Start,
    effort: Effort,
    record: Record,
) -> None:
    ours, theirs = channel
    reader = reading(start, hand_out, theirs, reads=effort(3000, 100_000), seed=effort.random.random())
    read, lost, torn = written_to(pool, ours, reader)
    assert lost, "the writer never came close"
    record("D6", "late readers", attempts=read, failures=["torn"] * torn, seen=f"{lost:,} overtaken, and told so")


def test_frames_are_torn_when_readers_lock_nothing(
    hand_out: HandOut, pool: Pool, channel: tuple[socket.socket, socket.socket], start: Start
) -> None:
    ours, theirs = channel
    reader = reading(start, hand_out, theirs, reads=100_000, seed=1, without=["lock_for_reading"])
    _, _, torn = written_to(pool, ours, reader)
    assert torn


def test_slots_of_a_reader_that_is_killed_are_free_at_once(
    hand_out: HandOut, pool: Pool, start: Start, effort: Effort, record: Record
) -> None:
    attempts, failures = 0, []
    with contextlib.closing(fetched(hand_out)) as good:
        for _ in range(effort(2, 50)):
            for held in range(1, 4):
                published = [pool.put([frame(number)]) or b"" for number in range(3)]
                told = {"path": hand_out._file.path, "descriptors": [each.hex() for each in published[:held]]}
                holder = start(HOLDER, told)
                holder.line("connected")
                assert hand_out.serve(NONCE)
                holder.line("holds")
                assert free(pool) == 3 - held
                holder.process.kill()
                until(lambda: free(pool) == 3)
                attempts += 1
                lease = good.lease(pool.put([b"good"]) or b"")
                failures += [] if lease and bytes(lease.views[0]) == b"good" else ["the good one missed its frame"]
                del lease
    record("D6", "reader killed", attempts=attempts, failures=failures)


def free(pool: Pool) -> int:
    loans = [pool.loan(1) for _ in range(3)]
    return sum(loan is not None for loan in loans)


def test_no_frame_is_torn_of_a_publisher_that_is_killed_while_it_writes(
    socket_dir: Path, start: Start, effort: Effort, record: Record
) -> None:
    attempts, failures = 0, []
    for life in range(effort(3, 100)):
        with contextlib.ExitStack() as stack:
            ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours, theirs = (stack.enter_context(each) for each in ends)
            ours.settimeout(20)
            path = str(socket_dir / f"frames{life}")
            writer = start(
                WRITER, {"path": path, "channel": theirs.fileno(), "words": WORDS}, pass_fds=(theirs.fileno(),)
            )
            writer.line("open", 30)
            theirs.close()
            fetcher = Fetcher.connect(path, NONCE)
            assert fetcher is not None
            stack.enter_context(contextlib.closing(fetcher))
            ours.send(b"!")
            for wrong in checked(ours, fetcher, effort.random, writer.process.kill):
                attempts += 1
                failures += wrong
    record("D6", "publisher killed", attempts=attempts, failures=failures)


def checked(
    ours: socket.socket, fetcher: Fetcher, late: random.Random, kill: Callable[[], None]
) -> Iterator[list[str]]:
    """Yield of each frame what is wrong with it; keep one, and kill the publisher after some."""
    kept, last = None, late.randrange(1, 60)
    with contextlib.suppress(ConnectionError):
        for count in range(10_000):
            if count == last:
                kill()
            if not (message := ours.recv(100)):
                break
            number, lease = message[:8], fetcher.lease(message[8:])
            if lease:
                yield [] if bytes(lease.views[0]) == number * WORDS else ["torn"]
                if kept is None:
                    kept = (number, lease)
    assert kept is not None
    yield [] if bytes(kept[1].views[0]) == kept[0] * WORDS else ["torn after the end"]


def test_forged_descriptor_names_nothing_and_the_good_ones_do(
    hand_out: HandOut, pool: Pool, effort: Effort, record: Record
) -> None:
    attempts, failures, refused, lost = effort(2000, 10_000), [], 0, 0
    with contextlib.closing(fetched(hand_out)) as fetcher:
        for number in range(attempts):
            good = pool.put([frame(number), b"second"]) or b""
            try:
                lease = fetcher.lease(forged(good, effort.random))
                failures += [] if lease is None else [f"{number} was taken"]
                lost += lease is None
            except InvalidMessage:
                refused += 1
            lease = fetcher.lease(good)
            failures += [] if lease and bytes(lease.views[0]) == frame(number) else [f"{number} was not taken"]
            del lease
    seen = f"{refused:,} refused, {lost:,} taken for lost"
    record("D5", "descriptors", attempts=attempts, failures=failures, seen=seen)


def forged(good: bytes, chance: random.Random) -> bytes:
    """Return a descriptor with anything changed that says which frame it is, or where that ends."""
    found = unpack(good)
    changes: list[dict[str, Any]] = [
        {"epoch": found.epoch ^ chance.randrange(1, 2**64)},
        {"number": found.number ^ chance.randrange(1, 2**32)},
        {"slot": chance.choice((3, 4, 504, 2**31, 2**32 - 1))},
        {"generation": found.generation ^ chance.randrange(1, 2**64)},
        {"generation": found.generation + chance.choice((-1, 1))},
        {"sizes": (2**16 + chance.randrange(2**63), *found.sizes)},
        {"sizes": (2**64 - 1,) * chance.randrange(1, 256)},
    ]
    whole = [pack(*found._replace(**change)) for change in changes]
    return chance.choice((*whole, good[: chance.randrange(32)], good + bytes(chance.randrange(1, 8))))


def test_forged_memory_is_refused_and_the_reader_lives(
    hand_out: HandOut, pool: Pool, effort: Effort, record: Record
) -> None:
    attempts, failures = effort(300, 10_000), []
    for number in range(attempts):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with contextlib.closing(Fetcher(ours)) as fetcher, theirs:
            descriptor = forged_memory(effort.random)
            socket.send_fds(theirs, [b"\1"], [descriptor])
            os.close(descriptor)
            try:
                fetcher.take()
                failures.append(f"{number} was accepted")
            except InvalidMessage:
                failures += [f"{number} goes on"] if fetcher.connected else []
    with contextlib.closing(fetched(hand_out)) as good:
        lease = good.lease(pool.put([b"good"]) or b"")
        assert lease is not None
        lease.release()
    record("D5", "memory", attempts=attempts, failures=failures)


def forged_memory(chance: random.Random) -> int:
    """Return a memfd that looks like shared frames, with a seal, some of its end, or some of its header missing."""
    shape = Shape(7, 1, 2, 65536)
    header = bytearray(bytes(make(shape).whole[:40]))
    size, seals, kind = shape.size, SEALS, chance.randrange(3)
    if kind == 0:
        seals &= ~chance.choice((1, 2, 4, 16))
    elif kind == 1:
        size = chance.choice((0, 1, 40, 4095, 4096, size - 1, size + 1, 2 * size, chance.randrange(size)))
    else:
        place = chance.choice((*range(12), *range(24, 40)))
        header[place] ^= chance.randrange(1, 256)
    descriptor = os.memfd_create("forged", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    os.pwrite(descriptor, header[:size], 0)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def test_no_order_of_steps_tears_a_frame(effort: Effort, record: Record) -> None:
    largest = effort(1, 3)
    sizes = [(slots, 2 + largest, readers) for slots in (1, 2, 3) for readers in (1, 2)]
    states = sum(explore(*size, Rules()) for size in sizes)
    record("F3", "all rules", attempts=states, failures=[], seen=f"{states:,} states, all there are")


@pytest.mark.parametrize("rule", [field.name for field in dataclasses.fields(Rules)])
def test_some_order_of_steps_tears_a_frame_without_a_rule(rule: str) -> None:
    with pytest.raises(Torn):
        explore(1, 3, 1, Rules(**{rule: False}))
