"""Several users in one directory of socket files: each publishes, and none can touch what another has made."""

import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import BECOME, Program

if sys.platform == "win32":
    pytest.skip("users of Unix", allow_module_level=True)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")

ANNA, BERT, BUS = 54321, 54322, 54320  # users, and their common group, that no system has an account for

PUBLISHER = """
become(config["user"], config["group"], *config["groups"])
bus = mb.MsgbusContext(config["bus"])
try:
    publisher = bus.new_publisher(config["topic"])
    print("ready")
except mb.MsgbusException as error:
    print(type(error).__name__, error)
    sys.exit()
threading.Event().wait()
"""

TOUCH = """
become(config["user"], config["group"], *config["groups"])
for name in config["names"]:
    for touch in (os.unlink, lambda path: os.rename(path, path + "-"), lambda path: os.chmod(path, 0o666)):
        try:
            touch(name)
            print("granted")
        except PermissionError:
            pass
print("done")
"""


@pytest.fixture
def config(socket_dir: Path) -> dict[str, Any]:
    """The first who publishes makes the directory."""
    socket_dir.chmod(0o777)
    return {"type": "zmq_ipc", "socket_dir": str(socket_dir / "bus"), "socket_group": BUS, "shared_directory": True}


def somebody(start: Start, code: str, user: int, group: int = BUS, **told: object) -> Program:
    return start(BECOME + code, {**told, "user": user, "group": user, "groups": [group]})


def test_two_users_publish_in_a_directory_and_a_third_reads(
    config: dict[str, Any], opened: Open, start: Start, socket_dir: Path
) -> None:
    for user, topic in ((ANNA, "camera1"), (BERT, "camera2")):
        somebody(start, PUBLISHER, user, bus=config, topic=topic).line("ready")
        assert opened(config).new_subscriber(topic).name == topic
        file = (socket_dir / "bus" / topic).stat()
        assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (user, BUS, 0o660)
    made = (socket_dir / "bus").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (ANNA, BUS, 0o3770)


def test_path_whose_lock_another_user_has_laid_out_is_refused(
    config: dict[str, Any], start: Start, socket_dir: Path
) -> None:
    """Else that user could hold it at any time, and who published could not remove it."""
    somebody(start, PUBLISHER, ANNA, bus=config, topic="camera1").line("ready")
    lock = socket_dir / "bus" / ".camera2.lock"
    lock.touch()
    lock.chmod(0o666)
    os.chown(lock, ANNA, BUS)
    said = f"MessageBusError another user has used {socket_dir}/bus/camera2, and only that one may again, or remove "
    somebody(start, PUBLISHER, BERT, bus=config, topic="camera2").line(f"{said}{lock} ({ANNA}:{BUS}, mode 0666)")
    somebody(start, PUBLISHER, ANNA, bus=config, topic="camera2").line("ready")


def test_nobody_removes_replaces_or_opens_what_another_has_made(
    config: dict[str, Any], start: Start, socket_dir: Path
) -> None:
    somebody(start, PUBLISHER, ANNA, bus=config, topic="camera1").line("ready")
    names = [str(socket_dir / "bus" / name) for name in ("camera1", ".camera1.lock")]
    bert = somebody(start, TOUCH, BERT, names=names)
    bert.line("done")
    assert not bert.says("granted", 0)
    assert [Path(name).exists() for name in names] == [True, True]


def test_topic_of_another_user_is_refused_while_it_lives_and_after_it_was_killed(
    config: dict[str, Any], start: Start, socket_dir: Path
) -> None:
    path = socket_dir / "bus" / "camera1"
    anna = somebody(start, PUBLISHER, ANNA, bus=config, topic="camera1")
    anna.line("ready")
    in_use = f"AddressInUse another publisher or service listens at {path}"
    somebody(start, PUBLISHER, BERT, bus=config, topic="camera1").line(in_use)
    anna.process.send_signal(signal.SIGKILL)
    anna.process.wait(10)
    lock = f"{socket_dir}/bus/.camera1.lock ({ANNA}:{BUS}, mode 0600)"
    taken = f"MessageBusError another user has used {path}, and only that one may again, or remove {lock}"
    somebody(start, PUBLISHER, BERT, bus=config, topic="camera1").line(taken)
    somebody(start, PUBLISHER, ANNA, bus=config, topic="camera1").line("ready")


def test_root_takes_over_what_a_killed_user_left(
    config: dict[str, Any], opened: Open, start: Start, socket_dir: Path
) -> None:
    anna = somebody(start, PUBLISHER, ANNA, bus=config, topic="camera1")
    anna.line("ready")
    anna.process.send_signal(signal.SIGKILL)
    anna.process.wait(10)
    publisher = opened(config).new_publisher("camera1")
    assert (publisher.name, (socket_dir / "bus" / "camera1").stat().st_uid) == ("camera1", 0)


def test_live_socket_that_this_user_may_not_ask_is_not_taken_over(
    config: dict[str, Any], start: Start, socket_dir: Path
) -> None:
    """Such as one of the original library, which has no lock."""
    directory = socket_dir / "bus"
    directory.mkdir()
    os.chown(directory, ANNA, BUS)
    directory.chmod(0o2750)
    with socket.socket(socket.AF_UNIX) as original:
        original.bind(str(directory / "camera1"))
        (directory / "camera1").chmod(0o755)
        original.listen()
        anna = somebody(start, PUBLISHER, ANNA, bus=config, topic="camera1")
        file = f"{directory}/camera1 (root:{BUS}, mode 0755)"
        anna.line(f"MessageBusError this user may not ask whether anybody listens at {file}")
    assert [path.name for path in directory.iterdir()] == ["camera1"]


def test_user_outside_the_group_can_neither_make_the_directory_nor_files_in_it(
    config: dict[str, Any], start: Start, socket_dir: Path
) -> None:
    refused = (
        f"InvalidConfig config socket_group: the user {BERT} cannot give anything to the group {BUS}: "
        f"add it with: usermod -aG {BUS} {BERT}"
    )
    somebody(start, PUBLISHER, BERT, group=BERT, bus=config, topic="camera1").line(refused)
    assert list(socket_dir.iterdir()) == []
    somebody(start, PUBLISHER, ANNA, bus=config, topic="camera2").line("ready")
    directory = f"{socket_dir}/bus ({ANNA}:{BUS}, mode 3770)"
    refused = f"InvalidConfig config socket_dir: this user has no right to create socket files in {directory}"
    somebody(start, PUBLISHER, BERT, group=BERT, bus=config, topic="camera1").line(refused)
