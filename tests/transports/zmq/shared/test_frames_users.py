"""Another user and the frames: outside of the group it gets none, inside it reads and can do nothing else."""

import os
from pathlib import Path

import pytest

from eis.msgbus.transports.zmq.shared import HandOut, Pool, hand_out_path
from tests.transports.zmq.conftest import Start
from tests.transports.zmq.helpers import BECOME

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")

BUS, VIEWER = 54320, 54322  # a group and a user that no system has an account for

SUBSCRIBER = """
import ctypes, errno, fcntl, mmap, select, struct
from eis.msgbus.transports.zmq.shared import Fetcher
become(config["user"], config["user"], *config["groups"])
fetcher = Fetcher.connect(config["path"], b"12345678")
if fetcher is None:
    print("no way in")
    raise SystemExit
print("connected")
select.select([fetcher._connection], [], [], 15)
fetcher.take()
if not fetcher.connected:
    print("hung up on")
    raise SystemExit
lease = fetcher.lease(bytes.fromhex(config["descriptor"]))
print("reads", bytes(lease.views[0]).decode())
[memory] = fetcher._memories.values()
number, name = memory.descriptor, f"/proc/self/fd/{memory.descriptor}"
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
fetcher.close()
print("granted:", ", ".join(granted))
"""


def hand_out_in(directory: Path, admits: bool = True) -> HandOut:
    os.chown(directory, -1, BUS)
    directory.chmod(0o2751)
    path = hand_out_path(str(directory / "camera1"))
    assert path is not None
    return HandOut(path, BUS, lambda uid, gid, pid: admits and (uid, gid, pid > 0) == (VIEWER, VIEWER, True))


def told(hand_out: HandOut, groups: tuple[int, ...], descriptor: bytes) -> dict[str, object]:
    return {"user": VIEWER, "groups": groups, "path": hand_out._file.path, "descriptor": descriptor.hex()}


@needs_root
def test_user_of_the_group_reads_and_can_change_nothing(socket_dir: Path, start: Start) -> None:
    hand_out = hand_out_in(socket_dir)
    pool = Pool(3, made=hand_out.offer)
    program = start(BECOME + SUBSCRIBER, told(hand_out, (BUS,), pool.put([b"frame"]) or b""))
    program.line("connected")
    assert hand_out.serve(b"12345678")
    program.line("reads frame")
    program.line("granted:")
    assert program.ends() == ""
    pool.close()
    hand_out.close()


@needs_root
def test_user_outside_of_the_group_does_not_get_in(socket_dir: Path, start: Start) -> None:
    hand_out = hand_out_in(socket_dir)
    program = start(BECOME + SUBSCRIBER, told(hand_out, (), b""))
    program.line("no way in")
    assert program.ends() == ""
    hand_out.close()


@needs_root
def test_user_who_is_not_admitted_is_hung_up_on(socket_dir: Path, start: Start) -> None:
    hand_out = hand_out_in(socket_dir, admits=False)
    pool = Pool(3, made=hand_out.offer)
    program = start(BECOME + SUBSCRIBER, told(hand_out, (BUS,), pool.put([b"frame"]) or b""))
    program.line("connected")
    assert not hand_out.serve(b"12345678")
    program.line("hung up on")
    assert program.ends() == ""
    pool.close()
    hand_out.close()
