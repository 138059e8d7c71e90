"""B: who is not in the group of a socket file, what lies at its path already, and who takes all descriptors."""

import os
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from tests.reliability.conftest import Effort, Record
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import Sides
from tests.transports.zmq.test_descriptors import SERVE, caller

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from eis.msgbus.transports.zmq.socket_file import SocketFile

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")

OUTSIDER, BUS, OTHERS = 54321, 54320, 54322  # a user and groups that no system has
UMASKS = (0o000, 0o002, 0o022, 0o077)

BECOME = """
import errno, pathlib, socket
os.setgroups(config["groups"])
os.setresgid(config["user"], config["user"], config["user"])
os.setresuid(config["user"], config["user"], config["user"])
directory = config["directory"]
path = directory + "/camera1"

def connect(path):
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(path)
"""

ATTEMPTS = """
def bind(path):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.bind(path)

def connecting():
    if error := connect(path):
        raise OSError(error, "connect")

attempts = {
    "connects": connecting,
    "creates": lambda: bind(directory + "/camera2"),
    "unlinks": lambda: os.unlink(path),
    "moves away": lambda: os.rename(path, directory + "/away"),
    "replaces": lambda: os.rename(config["own"], path),
    "links": lambda: os.symlink(config["own"], directory + "/camera3"),
    "opens to all": lambda: os.chmod(path, 0o777),
    "takes the lock": lambda: os.close(os.open(directory + "/.camera1.lock", os.O_RDWR)),
}
granted = []
for name, attempt in attempts.items():
    try:
        attempt()
        granted.append(name)
    except PermissionError:
        pass
print("granted:", ", ".join(granted))
"""

SPIN = """
beside, seen, rounds = directory + "/.camera1.new", set(), 0
print("ready")
while not os.path.exists(directory + "/stop"):
    seen |= {connect(path), connect(beside)}
    rounds += 1
seen.add(connect(path))
print("rounds", rounds)
for error in seen:
    print("got", errno.errorcode.get(error, "in"))
print("done")
"""


def attack(start: Start, code: str, directory: Path, *groups: int, **told: str) -> Any:
    return start(BECOME + code, {"directory": str(directory), "user": OUTSIDER, "groups": groups, **told})


@needs_root
@pytest.mark.parametrize("umask", UMASKS)
def test_only_the_group_connects_and_nobody_touches_the_file(
    umask: int, opened: Open, start: Start, socket_dir: Path, record: Record
) -> None:
    socket_dir.chmod(0o711)
    own = socket_dir.with_name(f"{socket_dir.name}-own")
    own.touch()
    os.chown(own, OUTSIDER, OUTSIDER)
    directory = socket_dir / "bus"
    before = os.umask(umask)
    try:
        bus = opened({"type": "zmq_ipc", "socket_dir": str(directory), "socket_group": BUS})
        publisher = bus.new_publisher("camera1")
    finally:
        os.umask(before)
    failures = []
    for mode, groups, expected in ((0o2750, (), ""), (0o2755, (), ""), (0o2750, (BUS,), "connects")):
        directory.chmod(mode)
        program = attack(start, ATTEMPTS, directory, *groups, own=str(own))
        if not program.says(f"granted: {expected}".strip(), 15):
            failures.append(f"umask {umask:03o}, groups {groups}: {program._lines}")
    own.unlink()
    assert publisher.name == "camera1"
    record("B1", f"umask {umask:03o}", attempts=3 * 8, failures=failures)


@needs_root
@pytest.mark.parametrize("umask", UMASKS)
@pytest.mark.parametrize("group", [None, BUS])
def test_nobody_connects_in_the_moment_in_which_a_file_is_made(
    umask: int, group: int | None, start: Start, socket_dir: Path, effort: Effort, record: Record
) -> None:
    """The stranger may look into the directory; with a group, it is in the one that the system gives the file first."""
    os.chown(socket_dir, -1, OTHERS)
    socket_dir.chmod(0o2755)
    groups = () if group is None else (OTHERS,)
    stranger, binds = attack(start, SPIN, socket_dir, *groups), effort(100, 1000)
    stranger.line("ready")
    before = os.umask(umask)
    try:
        for _ in range(binds):
            file = SocketFile(str(socket_dir / "camera1"), group)
            assert stat.S_IMODE((socket_dir / "camera1").stat().st_mode) == 0o660
            file.close()
    finally:
        os.umask(before)
    file = SocketFile(str(socket_dir / "camera1"), group)  # this one stays until it was seen
    (socket_dir / "stop").touch()
    stranger.line("done", 30)
    file.close()
    got = {line for line in stranger._lines if line.startswith("got")}
    rounds = next(line for line in stranger._lines if line.startswith("rounds"))
    failures = got - {"got EACCES", "got ENOENT"}
    assert "got EACCES" in got
    part = f"umask {umask:03o}{', in the wrong group' if group else ''}"
    record("B2", part, attempts=binds, failures=sorted(failures), seen=f"{rounds.split()[1]} tries to connect")


MAKE_AS_ZEROMQ = """
import zmq
os.umask(0)
context = zmq.Context()
while True:
    with context.socket(zmq.PUB) as publisher:
        publisher.bind("ipc://" + config)
        os.chmod(config, 0o660)
        publisher.unbind("ipc://" + config)
"""


@needs_root
def test_stranger_does_connect_while_zeromq_makes_the_file(start: Start, socket_dir: Path) -> None:
    """What `bind` and then `chmod` are worth, at the umask 0."""
    socket_dir.chmod(0o2755)
    stranger = attack(start, SPIN.replace("rounds += 1", "rounds += 1\n    if 0 in seen: break"), socket_dir)
    stranger.line("ready")
    maker = start(MAKE_AS_ZEROMQ, str(socket_dir / "camera1"))
    stranger.line("got in", 30)
    assert maker.process.poll() is None
    maker.close()


def lives(path: Path) -> object:
    return SocketFile(str(path))


def stale(path: Path) -> object:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    return left


CASES: dict[str, tuple[Callable[[Path], object], type[Exception] | None]] = {
    "a live socket": (lives, mb.AddressInUse),
    "a stale socket": (stale, None),
    "a file": (lambda path: path.write_text("mine"), mb.MessageBusError),
    "a link to a file": (lambda path: path.symlink_to("/etc/hostname"), mb.MessageBusError),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), mb.MessageBusError),
    "a directory": (lambda path: path.mkdir(), mb.MessageBusError),
    "a pipe": (os.mkfifo, mb.MessageBusError),
}


@pytest.mark.parametrize("case", CASES)
def test_what_lies_at_the_path_is_replaced_only_when_it_is_stale(
    case: str, socket_dir: Path, effort: Effort, record: Record
) -> None:
    make, expected = CASES[case]
    failures: list[object] = []
    attempts = effort(10, 100)
    for number in range(attempts):
        path = socket_dir / f"camera{number}"
        made = make(path)
        inode = path.lstat().st_ino
        try:
            file = SocketFile(str(path))
            file.close()
        except mb.MessageBusError as error:
            if type(error) is not expected or path.lstat().st_ino != inode:
                failures.append(error)
        else:
            failures += [] if expected is None else ["it was replaced"]
        if isinstance(made, SocketFile):
            made.close()
    record("B3", case, attempts=attempts, failures=failures)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, "@camera1"),
        ({"camera1": {"socket_file": "@camera1"}}, "camera1"),
        ({"camera1": {"socket_file": "../camera1"}}, "camera1"),
        ({}, "x" * 108),
        ({"socket_dir": "/nowhere/at/all"}, "camera1"),
        ({"socket_dir": "@abstract"}, "camera1"),
    ],
)
def test_path_that_cannot_be_one_is_refused_by_publishers_and_subscribers(
    config: dict[str, Any], name: str, socket_dir: Path, record: Record
) -> None:
    failures = []
    for opening in ("new_publisher", "new_subscriber", "new_service", "get_service"):
        try:
            with mb.MsgbusContext({"type": "zmq_ipc", "socket_dir": str(socket_dir), **config}) as bus:
                getattr(bus, opening)(name)
        except mb.InvalidConfig:
            continue
        failures.append(f"{opening} took {config or name}")
    record("B3", f"{config or name[:12]}", attempts=4, failures=failures)


# B4: descriptors.


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_publisher_serves_while_strangers_hold_more_connections_than_were_allowed(
    make_sides: Callable[[str], Sides], opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    rounds, many = effort(1, 20), 300
    for _ in range(rounds):
        sides = make_sides(mode)
        program = start(SERVE, sides.server, stdin=-1)
        program.line("open")
        connect = caller(sides)
        with ExitStack() as idle:
            for _ in range(many):
                idle.enter_context(connect())
            subscriber = opened(sides.client).new_subscriber("camera1")
            assert program.process.stdin is not None
            program.process.stdin.write("\n")
            program.process.stdin.close()
            assert subscriber.recv(10000).meta_data["limit"] > many
            program.ends()
    record("B4", mode, attempts=rounds * many, failures=[])
