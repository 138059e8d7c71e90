"""Another user and the frames: outside of the group it gets none, inside it reads and can do nothing else."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eis.msgbus.transports.zmq.shared import HandOut, Pool, hand_out_path
from tests.transports.zmq.conftest import Start
from tests.transports.zmq.helpers import BECOME

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")

BUS, VIEWER, OTHER = 54320, 54322, 54323  # a group and users that no system has an account for

SUBSCRIBER = """
import ctypes, fcntl, mmap, select, socket, struct
from eis.msgbus.transports.zmq.shared import Fetcher
from eis.msgbus.transports.zmq.shared.accept import accept
from eis.msgbus.transports.zmq.shared.descriptor import unpack
from eis.msgbus.transports.zmq.shared.lease import lease
become(config["user"], config["user"], *config["groups"])
fetcher = Fetcher.connect(config["path"], b"12345678")
if fetcher is None:
    print("no way in")
    raise SystemExit
print("connected")
select.select([fetcher._connection], [], [], 15)
try:
    _, received, _, _ = socket.recv_fds(fetcher._connection, 1, 1)
except ConnectionResetError:
    print("hung up on")
    raise SystemExit
finally:
    fetcher.close()
number, name = received[0], f"/proc/self/fd/{received[0]}"
memory = accept(os.dup(number))
frame = lease(memory, unpack(bytes.fromhex(config["descriptor"])), lambda _: None)
print("reads", bytes(frame.views[0]).decode())
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 2, 1, 0)
attempts = {
    "writes": lambda: os.pwrite(number, b"x", 8192),
    "cuts": lambda: os.ftruncate(number, 0),
    "cuts by name": lambda: os.truncate(name, 0),
    "lengthens": lambda: os.ftruncate(number, 1 << 30),
    "maps to write": lambda: mmap.mmap(number, 4096, mmap.MAP_SHARED, mmap.PROT_WRITE),
    "opens to write": lambda: os.open(name, os.O_RDWR),
    "opens to write only": lambda: os.open(name, os.O_WRONLY),
    "changes the mode": lambda: os.chmod(name, 0o666),
    "changes the mode too": lambda: os.fchmod(number, 0o666),
    "seals": lambda: fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    "locks others out": lambda: fcntl.fcntl(number, fcntl.F_OFD_SETLK, lock),
    "unlinks": lambda: os.unlink(config["path"]),
}
granted = []
for what, attempt in attempts.items():
    try:
        attempt()
        granted.append(what)
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
address = ctypes.addressof(memory._array)
if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_WRITE) == 0:
    granted.append("makes its mapping writable")
print("granted:", ", ".join(granted))
"""


HandOutFor = Callable[..., HandOut]


@pytest.fixture
def hand_out_for(socket_dir: Path) -> Iterator[HandOutFor]:
    """`hand_out_for(VIEWER)`: a hand-out that admits one user, in a directory that all may enter."""
    os.chown(socket_dir, -1, BUS)
    socket_dir.chmod(0o751)  # not setgid: the file gets its group from us
    path = hand_out_path(str(socket_dir / "camera1"))
    assert path is not None
    with ExitStack() as stack:

        def make(user: int) -> HandOut:
            made = HandOut(path, BUS, lambda uid, gid, pid: (uid, gid, pid > 0) == (user, user, True))
            stack.callback(made.close)
            return made

        yield make


def told(hand_out: HandOut, groups: tuple[int, ...]) -> dict[str, object]:
    pool = Pool(3, made=hand_out.offer)
    descriptor = pool.put([b"frame"]) or b""
    return {"user": VIEWER, "groups": groups, "path": hand_out._file.path, "descriptor": descriptor.hex()}


@needs_root
def test_user_of_the_group_reads_and_can_change_nothing(hand_out_for: HandOutFor, start: Start) -> None:
    hand_out = hand_out_for(VIEWER)
    program = start(BECOME + SUBSCRIBER, told(hand_out, (BUS,)))
    program.line("connected")
    assert hand_out.serve(b"12345678")
    program.line("reads frame")
    program.line("granted:")
    assert program.ends() == ""


@needs_root
def test_user_outside_of_the_group_does_not_get_in(hand_out_for: HandOutFor, start: Start) -> None:
    program = start(BECOME + SUBSCRIBER, told(hand_out_for(VIEWER), ()))
    program.line("no way in")
    assert program.ends() == ""


@needs_root
def test_user_who_is_not_admitted_is_hung_up_on(hand_out_for: HandOutFor, start: Start) -> None:
    hand_out = hand_out_for(OTHER)
    program = start(BECOME + SUBSCRIBER, told(hand_out, (BUS,)))
    program.line("connected")
    assert not hand_out.serve(b"12345678")
    program.line("hung up on")
    assert program.ends() == ""
