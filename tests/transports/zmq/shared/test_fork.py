"""A child of a fork has its parent's descriptions, and so its locks: it neither ends them nor keeps them."""

import os
from pathlib import Path

from eis.msgbus.transports.zmq.shared import HandOut, Pool
from eis.msgbus.transports.zmq.shared import memory as memories
from tests.transports.zmq.conftest import Start
from tests.transports.zmq.helpers import until
from tests.transports.zmq.shared.conftest import Publish, Side

IMPORTS = """
import gc
from eis.msgbus.transports.zmq.shared import Fetcher, HandOut, Pool

def memories():
    places = ["/proc/self/fd/" + number for number in os.listdir("/proc/self/fd")]
    return sum("/memfd:eis-msgbus" in os.readlink(place) for place in places if os.path.lexists(place))

def wait(child):
    assert os.waitpid(child, 0)[1] == 0

"""

BOTH_SIDES = """
hand_out = HandOut(config["path"])
pool = Pool(2, made=hand_out.offer)
fetcher = Fetcher.connect(config["path"], b"12345678")
assert hand_out.serve(b"12345678")
lease = fetcher.lease(pool.put([b"frame"]))
loan = pool.loan(4)
assert memories() == 2
if child := os.fork():
    wait(child)
    assert pool.put([b"other"]) is None  # the one slot is still read, the other still written
    assert bytes(lease.views[0]) == b"frame"
    lease.release()
    assert pool.put([b"other"]) is not None
    del loan
    assert pool.loan(1) is not None
    hand_out.close()
    fetcher.close()
    print("done")
else:
    assert memories() == 0
    lease.release()
    del loan
    gc.collect()
    try:
        pool.put([b"child"])
    except ValueError:
        assert not hand_out.serve(b"12345678")
        os._exit(0)
"""

READER = """
fetcher = Fetcher.connect(config["path"], b"12345678")
print("connected")
import select
select.select([fetcher._connection], [], [], 15)
lease = fetcher.lease(bytes.fromhex(config["descriptor"]))
if os.fork() == 0:
    print("child", bytes(lease.views[0]).decode())
    signal.pause()
signal.pause()
"""


def test_child_neither_ends_nor_keeps_what_its_parent_has(socket_dir: Path, start: Start) -> None:
    program = start(IMPORTS + BOTH_SIDES, {"path": str(socket_dir / "frames")})
    assert program.ends() == ""
    program.line("done")


def test_lease_of_a_program_that_is_killed_ends_though_its_child_lives(publish: Publish, start: Start) -> None:
    side = publish(slots=2)
    descriptor = side.pool.put([b"frame"])
    assert descriptor is not None
    program = start(IMPORTS + READER, {"path": side.path, "descriptor": descriptor.hex()}, start_new_session=True)
    try:
        program.line("connected")
        assert side.hand_out.serve(b"12345678")
        program.line("child frame")
        assert _free(side) == 1
        program.process.kill()
        until(lambda: _free(side) == 2)
        os.killpg(program.process.pid, 0)  # the child is there
    finally:
        os.killpg(program.process.pid, 9)


def _free(side: Side) -> int:
    loans = [side.pool.loan(1) for _ in range(2)]
    return sum(loan is not None for loan in loans)


def test_what_is_inherited_holds_nothing_and_hands_nothing_out(socket_dir: Path) -> None:
    """The same, in one process, where the branches are counted."""
    hand_out = HandOut(str(socket_dir / "frames"))
    pool = Pool(2, made=hand_out.offer)
    loan = pool.loan(1)
    assert loan is not None
    memories._forked()
    assert loan.taken.memory.descriptor == -1
    memories._forked()
    del loan
    pool.close()
    hand_out.close()
