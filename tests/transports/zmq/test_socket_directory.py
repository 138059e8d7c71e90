"""The directory of socket files: made with its rights, refused when others could replace what lies in it."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus._config import Directory
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import running

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from eis.msgbus.transports.zmq import socket_directory
from eis.msgbus.transports.zmq.socket_directory import prepare

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")

STRANGER, GROUP = 54321, 54320  # no system has accounts for them


@pytest.fixture
def place(socket_dir: Path) -> Path:
    """Where the directory is to be."""
    return socket_dir / "bus"


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def config(place: Path, **more: object) -> dict[str, Any]:
    return {"type": "zmq_ipc", "socket_dir": str(place), **more}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize(("shared", "expected"), [(False, 0o2750), (True, 0o3770)])
@pytest.mark.parametrize("opening", ["new_publisher", "new_service"])
def test_publisher_or_service_makes_the_directory_under_any_umask(
    place: Path, opened: Open, opening: str, shared: bool, expected: int
) -> None:
    endpoint = getattr(opened(config(place, shared_directory=shared)), opening)("camera1")
    assert mode(place) == expected
    assert [path.name for path in place.parent.iterdir()] == ["bus"]
    assert endpoint.name == "camera1"


@needs_root
def test_directory_and_files_get_the_group_of_the_configuration(place: Path, opened: Open) -> None:
    publisher = opened(config(place, socket_group=GROUP)).new_publisher("camera1")
    assert [path.stat().st_gid for path in (place, place / "camera1")] == [GROUP, GROUP]
    assert (mode(place), mode(place / "camera1"), publisher.name) == (0o2750, 0o660, "camera1")


@needs_root
def test_files_get_the_group_of_the_configuration_in_a_directory_of_another(place: Path, opened: Open) -> None:
    place.mkdir(mode=0o755)
    publisher = opened(config(place, socket_group=GROUP)).new_publisher("camera1")
    assert [path.stat().st_gid for path in (place, place / "camera1")] == [os.getegid(), GROUP]
    assert publisher.name == "camera1"


def test_group_that_the_system_does_not_know_is_an_error(place: Path, opened: Open) -> None:
    with pytest.raises(mb.InvalidConfig, match="expected a group of this system") as caught:
        opened(config(place, socket_group="no-such-group")).new_publisher("camera1")
    assert caught.value.where == "socket_group"
    assert not place.exists()


def test_nothing_is_left_behind_when_the_directory_cannot_be_given_to_the_group(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(mb.InvalidConfig, match="usermod -aG"):
        prepare(Directory(str(place), os.getegid()))
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("opening", ["new_subscriber", "get_service"])
def test_client_does_not_make_the_directory_and_says_who_does(place: Path, opened: Open, opening: str) -> None:
    problem = "does not exist; start what publishes or serves there, or make it with: install -d -m 2750 -g GROUP"
    with pytest.raises(mb.InvalidConfig, match=problem):
        getattr(opened(config(place)), opening)("camera1")
    assert not place.exists()


def test_brokered_publisher_does_not_make_the_directory(place: Path, opened: Open) -> None:
    with pytest.raises(mb.InvalidConfig, match="does not exist"):
        opened(config(place, camera1={"brokered": True})).new_publisher("camera1")
    assert not place.exists()


def test_parents_are_not_made(place: Path, opened: Open) -> None:
    problem = "bus/sockets: No such file or directory; make it with: install -d -m 2750 -g GROUP .*bus/sockets"
    with pytest.raises(mb.InvalidConfig, match=problem):
        opened(config(place / "sockets")).new_publisher("camera1")


@pytest.mark.parametrize("opening", ["new_publisher", "new_subscriber"])
def test_file_in_the_place_of_the_directory_is_an_error(place: Path, opened: Open, opening: str) -> None:
    place.touch()
    with pytest.raises(mb.InvalidConfig, match="bus is no directory"):
        getattr(opened(config(place)), opening)("camera1")


def test_link_to_nothing_in_the_place_of_the_directory_is_an_error(place: Path, opened: Open) -> None:
    place.symlink_to("nothing")
    with pytest.raises(mb.InvalidConfig, match="does not exist"):
        opened(config(place)).new_publisher("camera1")


def test_directory_without_the_right_to_make_files_is_an_error_that_says_whose_it_is(
    place: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.mkdir(mode=0o700)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may do all
    problem = r"this user has no right to create socket files in .*bus \(.*:.*, mode 0700\)"
    with pytest.raises(mb.InvalidConfig, match=problem):
        opened(config(place)).new_service("camera1")


@pytest.mark.parametrize("allowed", [0o700, 0o711, 0o750, 0o755, 0o2750, 0o2710, 0o3770, 0o1770])
def test_directory_is_taken_when_nobody_else_can_replace_a_file_in_it(place: Path, opened: Open, allowed: int) -> None:
    place.mkdir()
    place.chmod(allowed)
    assert opened(config(place)).new_publisher("camera1").name == "camera1"
    assert mode(place) == allowed


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (0o777, "everybody may write to it"),
        (0o1777, "everybody may write to it"),
        (0o702, "everybody may write to it"),
        (0o770, "its group .* may replace the files of others"),
        (0o2770, "its group .* may replace the files of others"),
    ],
)
@pytest.mark.parametrize("opening", ["new_publisher", "new_service"])
def test_directory_is_refused_when_others_could_replace_a_file_in_it(
    place: Path, opened: Open, opening: str, refused: int, why: str
) -> None:
    place.mkdir()
    place.chmod(refused)
    hint = "use a directory of mode 2750, or 3770 with shared_directory"
    with pytest.raises(mb.InvalidConfig, match=f"bus is too open: {why}; {hint}") as caught:
        getattr(opened(config(place, shared_directory=True)), opening)("camera1")
    assert (caught.value.where, list(place.iterdir())) == ("socket_dir", [])
    endpoint = getattr(opened(config(place, allow_open_directory=True)), opening)("camera1")
    assert (endpoint.name, mode(place)) == ("camera1", refused)


@needs_root
@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, False),
        ({"shared_directory": True}, True),
        ({"shared_directory": True, "socket_group": GROUP}, True),
        ({"shared_directory": True, "socket_group": 0}, False),
        ({"allow_open_directory": True}, True),
    ],
)
def test_directory_of_a_stranger_is_taken_only_when_it_is_shared(
    place: Path, opened: Open, options: dict[str, object], taken: bool
) -> None:
    place.mkdir()
    os.chown(place, STRANGER, GROUP)
    place.chmod(0o3770)
    bus = opened(config(place, **options))
    if taken:
        assert bus.new_publisher("camera1").name == "camera1"
    else:
        with pytest.raises(mb.InvalidConfig, match=f"too open: it belongs to the user {STRANGER}; use"):
            bus.new_publisher("camera1")


@needs_root
def test_link_of_a_stranger_to_a_good_directory_is_refused(place: Path, opened: Open) -> None:
    (place.parent / "good").mkdir(mode=0o700)
    place.symlink_to("good")
    assert opened(config(place)).new_publisher("camera1").name == "camera1"
    os.chown(place, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(mb.InvalidConfig, match=f"it belongs to the user {STRANGER}"):
        opened(config(place)).new_publisher("camera1")


def test_directory_is_fine_when_two_make_it_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faster(path: str, *_: object) -> None:
        monkeypatch.undo()
        prepare(Directory(str(place)))
        (place / "camera1").touch()
        assert Path(path).is_dir()

    monkeypatch.setattr(socket_directory, "_set_rights", faster)
    prepare(Directory(str(place)))
    assert mode(place) == 0o2750
    assert [path.name for path in place.parent.rglob("*")] == ["bus", "camera1"]


def test_directory_is_fine_when_many_make_it_at_once(place: Path, opened: Open) -> None:
    buses = [opened(config(place)) for _ in range(8)]
    names = [f"camera{number}" for number in range(8)]

    def publish(number: int) -> None:
        buses[number].new_service(names[number])

    with running(lambda: publish(0)), running(lambda: publish(1)), running(lambda: publish(2)):
        publish(3)
    assert mode(place) == 0o2750
    assert [path.name for path in place.parent.iterdir()] == ["bus"]


def test_directory_that_cannot_be_moved_to_its_place_is_an_error_and_leaves_nothing_behind(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(mb.InvalidConfig, match=r"cannot make .*bus: No space left on device"):
        prepare(Directory(str(place)))
    assert list(place.parent.iterdir()) == []
