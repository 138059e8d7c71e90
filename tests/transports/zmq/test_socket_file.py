"""Socket files: rights, what lies at the path, what is left behind."""

import contextlib
import errno
import os
import socket
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import ipc_sides, until

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from eis.msgbus.transports.zmq import socket_file
from eis.msgbus.transports.zmq.socket_file import SocketFile

Config = dict[str, object]


@pytest.fixture
def config(socket_dir: Path) -> Config:
    return {"type": "zmq_ipc", "socket_dir": str(socket_dir)}


@pytest.fixture
def path(socket_dir: Path) -> Path:
    return socket_dir / "camera1"


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_file_is_reached_by_its_owner_and_group_only(umask: int, config: Config, path: Path, opened: Open) -> None:
    publisher = opened(config).new_publisher("camera1")
    assert publisher.name == path.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert os.umask(umask) == umask


def test_live_path_is_refused_and_goes_on(config: Config, opened: Open) -> None:
    publisher, subscriber = opened(config).new_publisher("camera1"), opened(config).new_subscriber("camera1")
    with pytest.raises(mb.AddressInUse, match=r"another publisher or service listens at .*camera1"):
        opened(config).new_service("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_live_path_is_refused_when_its_owner_knows_no_lock(config: Config, path: Path, raw: Raw, opened: Open) -> None:
    original = raw(zmq.PUB, bind=f"ipc://{path}")
    inode = path.stat().st_ino
    with pytest.raises(mb.AddressInUse):
        opened(config).new_publisher("camera1")
    assert path.stat().st_ino == inode
    assert not original.closed


def test_path_is_refused_while_its_lock_is_held_though_its_file_was_removed(path: Path) -> None:
    file = SocketFile(str(path))
    path.unlink()
    with pytest.raises(mb.AddressInUse):
        SocketFile(str(path))
    file.close()


def test_stale_file_is_replaced(config: Config, path: Path, opened: Open, start: Start) -> None:
    program = start(
        'p = mb.MsgbusContext(config).new_publisher("camera1")\nprint("ready")\nthreading.Event().wait()', config
    )
    program.line("ready")
    program.process.kill()
    program.process.wait(10)
    assert path.is_socket()
    publisher, subscriber = opened(config).new_publisher("camera1"), opened(config).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    assert subscriber.name == "camera1"


@pytest.mark.parametrize("make", [lambda path: path.write_text("mine"), lambda path: path.symlink_to("/etc/hostname")])
def test_what_is_no_socket_is_refused_and_untouched(
    make: Callable[[Path], object], config: Config, path: Path, opened: Open
) -> None:
    make(path)
    before = path.lstat()
    with pytest.raises(mb.MessageBusError, match=r"expected a socket file or nothing at .*camera1"):
        opened(config).new_publisher("camera1")
    after = path.lstat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)


def test_nothing_is_left_behind_when_the_endpoints_are_closed(socket_dir: Path) -> None:
    with mb.MsgbusContext(ipc_sides(socket_dir).server) as bus:
        bus.new_publisher("camera1")
        service = bus.new_service("echo")
        assert [path.name for path in socket_dir.iterdir() if path.is_socket()] == ["echo"]
        service.close()
    assert list(socket_dir.iterdir()) == []


def test_file_of_another_is_not_removed_at_close(path: Path) -> None:
    mine = SocketFile(str(path))
    path.unlink()
    path.write_text("another's")
    mine.close()
    assert path.read_text() == "another's"


def test_path_stays_ours_from_an_end_to_the_next_beginning(path: Path) -> None:
    file = SocketFile(str(path))
    os.close(file.detach())
    with pytest.raises(mb.AddressInUse):
        SocketFile(str(path))
    file.renew()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
    file.close()
    assert not list(path.parent.iterdir())


def test_close_is_fine_when_somebody_removed_the_file_and_its_lock(path: Path) -> None:
    file = SocketFile(str(path))
    for each in path.parent.iterdir():
        each.unlink()
    file.close()


def test_lock_that_was_removed_by_its_last_holder_is_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(socket_file, "_is_at", lambda *_: next(answers))
    SocketFile(str(path)).close()
    assert next(answers, None) is None


def test_lock_without_a_file_is_no_lock(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY)
    assert not socket_file._is_at(str(path), descriptor)
    os.close(descriptor)


def test_forked_child_removes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SocketFile(str(path))
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        file.close()
    assert path.is_socket()
    file.close()


def test_file_that_cannot_be_made_is_an_error_that_says_why(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "chmod", full)
    with pytest.raises(mb.MessageBusError, match=r"cannot listen at .*camera1: No space left on device"):
        SocketFile(str(path))
    monkeypatch.undo()
    SocketFile(str(path)).close()


def test_lock_that_is_a_symlink_is_refused(path: Path) -> None:
    path.with_name(".camera1.lock").symlink_to("/etc/hostname")
    with pytest.raises(mb.MessageBusError, match="cannot lock"):
        SocketFile(str(path))


def test_lock_of_another_user_is_refused_though_everybody_may_open_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.with_name(".camera1.lock").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(mb.MessageBusError, match=r"another user has used .*camera1, and only that one may again"):
        SocketFile(str(path))


@pytest.mark.parametrize("live", [True, False])
def test_lock_of_another_user_is_an_error_that_says_whether_anybody_listens(
    live: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = SocketFile(str(path))
    if not live:
        path.unlink()
    monkeypatch.setattr(os, "open", refuse)
    expected = "another publisher or service listens" if live else r"another user has used .*camera1, and only that one"
    with pytest.raises(mb.MessageBusError, match=expected):
        SocketFile(str(path))
    monkeypatch.undo()
    file.close()


def test_socket_that_this_user_may_not_ask_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    monkeypatch.setattr(errno, "EACCES", errno.ECONNREFUSED)  # root may ask everybody
    with pytest.raises(mb.MessageBusError, match=r"this user may not ask whether anybody listens at .*camera1 \("):
        SocketFile(str(path))
    assert path.is_socket()


def test_path_may_have_107_bytes_and_no_more(socket_dir: Path, opened: Open) -> None:
    name = "x" * (107 - len(str(socket_dir)) - 1)
    bus = opened({"type": "zmq_ipc", "socket_dir": str(socket_dir)})
    publisher, subscriber = bus.new_publisher(name), bus.new_subscriber(name)
    publisher.wait_for_subscribers(1, 5000)
    with pytest.raises(mb.InvalidConfig, match="expected a socket path of at most 107 bytes, got 108"):
        bus.new_publisher(name + "x")
    assert subscriber.name == name


def test_short_name_works_in_a_long_directory(socket_dir: Path, opened: Open) -> None:
    directory = socket_dir / ("d" * (107 - len(str(socket_dir)) - 3))
    directory.mkdir()
    bus = opened({"type": "zmq_ipc", "socket_dir": str(directory)})
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    publisher.wait_for_subscribers(1, 5000)
    assert subscriber.name == "t"


def test_file_has_its_rights_from_the_first_moment_that_it_has_its_name(path: Path, start: Start) -> None:
    program = start(
        "from eis.msgbus.transports.zmq.socket_file import SocketFile\n"
        "os.umask(0o077)\nwhile True:\n    SocketFile(config).close()",
        str(path),
    )
    found: Counter[int] = Counter()

    def look() -> bool:
        with contextlib.suppress(FileNotFoundError):
            found[stat.S_IMODE(path.stat().st_mode)] += 1
        return found.total() > 1000

    until(lambda: any(look() for _ in range(100)), 30)
    assert set(found) == {0o660}
    assert program.process.poll() is None


def test_file_with_a_path_as_long_as_can_be_is_made_where_it_stays(socket_dir: Path) -> None:
    path = socket_dir / ("x" * (107 - len(str(socket_dir)) - 1))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    file = SocketFile(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    file.close()
    assert list(socket_dir.iterdir()) == []


def test_what_a_killed_program_left_of_a_file_in_the_making_is_removed(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path.with_name(".camera1.new")))
    SocketFile(str(path)).close()
    assert list(path.parent.iterdir()) == []


def test_group_is_that_of_the_configuration(path: Path) -> None:
    mine = os.getegid()
    file = SocketFile(str(path), mine)
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (mine, 0o660)
    file.close()


def test_nothing_is_left_behind_when_the_file_cannot_be_given_to_the_group(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(
        mb.InvalidConfig, match=r"cannot give anything to the group .*: add it with: usermod -aG"
    ) as caught:
        SocketFile(str(path), os.getegid())
    assert caught.value.where == "socket_group"
    assert list(path.parent.iterdir()) == []


def test_stale_file_that_vanishes_meanwhile_is_fine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_file, "_is_stale", lambda _: True)
    SocketFile(str(path)).close()
    assert list(path.parent.iterdir()) == []


def test_descriptor_is_not_inherited_by_other_programs(path: Path) -> None:
    file = SocketFile(str(path))
    descriptor = file.detach()
    assert not os.get_inheritable(descriptor)
    socket.socket(fileno=descriptor).close()
    file.close()
