"""A client whose user may not connect to a socket file: it is told why, once, and gets in when it may."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import BECOME, Program, until

if sys.platform == "win32":
    pytest.skip("users of Unix", allow_module_level=True)

from eis.msgbus.transports.zmq import accounts
from eis.msgbus.transports.zmq.permission import forbidden

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")

VIEWER, BUS = 54321, 54320  # a user and a group that no system has

SUBSCRIBER = """
def say(text):
    sys.stdout.write(text + "\\n")  # in one piece: two threads say something

become(config["user"], config["user"], *config["groups"])
bus = mb.MsgbusContext(config["bus"])
subscriber = bus.new_subscriber("camera1")
subscriber.on_event(lambda status: say(f"{status.state} {status.reason}".strip()))
for _ in range(config["times"]):
    try:
        subscriber.recv(15000)
        say("got a message")
    except mb.MessageBusAuthenticationFailed as error:
        say(f"refused: {error}")
    except mb.ReceiveTimeout:
        say("nothing")
say("done")
threading.Event().wait()  # the connection may be told of later than its first message comes
"""

REQUESTER = """
become(config["user"], config["user"], *config["groups"])
bus = mb.MsgbusContext(config["bus"])
requester = bus.get_service("camera1")
try:
    requester.request({"n": 1}, timeout=15000)
except mb.MessageBusAuthenticationFailed as error:
    print("refused:", error)
print("status:", requester.status.state)
"""

BROKERED = """
become(config["user"], config["user"], *config["groups"])
bus = mb.MsgbusContext({**config["bus"], "camera1": {"brokered": True}})
publisher = bus.new_publisher("camera1")
try:
    while True:
        publisher.publish({"n": 1})
except mb.MessageBusAuthenticationFailed as error:
    print("refused:", error)
"""


@pytest.fixture
def config(socket_dir: Path) -> dict[str, Any]:
    socket_dir.chmod(0o711)
    return {"type": "zmq_ipc", "socket_dir": str(socket_dir / "bus"), "socket_group": BUS}


def viewer(start: Start, code: str, config: object, *groups: int, times: int = 1) -> Program:
    return start(BECOME + code, {"bus": config, "user": VIEWER, "groups": groups, "times": times})


def publishing_until(publisher: mb.Publisher, happened: Callable[[], object]) -> None:
    def publish() -> object:
        publisher.publish({"n": 1})
        return happened()

    until(publish, 20)


def no_right(what: str, path: Path, mode: str, remedy: str = "", group: int = BUS) -> str:
    remedy = remedy or f"join the group {group} (usermod -aG {group} {VIEWER}) and start again in a new session"
    name = accounts.group_name(group)
    return f"the user {VIEWER} (uid {VIEWER}) has no right to {what} {path} (root:{name}, mode {mode}): {remedy}"


@needs_root
def test_subscriber_without_the_right_to_the_file_is_told_once_and_gets_in_when_it_may(
    config: dict[str, Any], opened: Open, start: Start, socket_dir: Path
) -> None:
    publisher = opened(config).new_publisher("camera1")
    (socket_dir / "bus").chmod(0o2755)
    file = socket_dir / "bus" / "camera1"
    told = no_right("connect to", file, "0660")
    program = viewer(start, SUBSCRIBER, config, times=2)
    program.line(f"refused: {told}")
    file.chmod(0o666)
    publishing_until(publisher, lambda: program.says("got a message", 0.01))
    program.line("connected")
    program.line("done")
    assert [line for line in program._lines if line.startswith(("denied", "refused"))] in (
        [f"denied {told}", f"refused: {told}"],
        [f"refused: {told}"],
    )


@needs_root
def test_subscriber_that_may_not_enter_the_directory_is_told_and_gets_in_when_it_may(
    config: dict[str, Any], opened: Open, start: Start, socket_dir: Path
) -> None:
    publisher = opened(config).new_publisher("camera1")
    program = viewer(start, SUBSCRIBER, config, times=3)
    program.line(f"refused: {no_right('enter', socket_dir / 'bus', '2750')}")
    (socket_dir / "bus").chmod(0o2755)
    program.line(f"refused: {no_right('connect to', socket_dir / 'bus' / 'camera1', '0660')}")
    (socket_dir / "bus" / "camera1").chmod(0o666)
    publishing_until(publisher, lambda: program.says("got a message", 0.01))


@needs_root
def test_member_of_the_group_gets_in(config: dict[str, Any], opened: Open, start: Start) -> None:
    publisher = opened(config).new_publisher("camera1")
    program = viewer(start, SUBSCRIBER, config, BUS)
    publishing_until(publisher, lambda: program.says("got a message", 0.01))


@needs_root
@pytest.mark.parametrize("code", [REQUESTER, BROKERED])
def test_requester_and_brokered_publisher_are_told_too(
    config: dict[str, Any], opened: Open, start: Start, socket_dir: Path, code: str
) -> None:
    service = opened(config).new_service("camera1")
    viewer(start, code, config).line(f"refused: {no_right('enter', socket_dir / 'bus', '2750')}")
    assert service.stats.received == 0


@needs_root
@pytest.mark.parametrize(
    ("mode", "group", "groups"),
    [
        (0o750, BUS, ()),  # as the original makes it under umask 027: its group has no right either
        (0o600, BUS, (BUS,)),
        (0o660, 0, ()),  # nobody should join the group of root
    ],
)
def test_user_is_not_sent_into_a_group_that_does_not_help(  # noqa: PLR0917  # a table
    mode: int, group: int, groups: tuple[int, ...], opened: Open, start: Start, socket_dir: Path
) -> None:
    config = {"type": "zmq_ipc", "socket_dir": str(socket_dir)}
    socket_dir.chmod(0o711)
    publisher, file = opened(config).new_publisher("camera1"), socket_dir / "camera1"
    os.chown(file, 0, group)
    file.chmod(mode)
    remedy = "who publishes or serves there has to let in a group that this user is in (socket_group)"
    told = no_right("connect to", file, f"{mode:04o}", remedy, group)
    viewer(start, SUBSCRIBER, config, *groups).line(f"refused: {told}")
    assert publisher.name == "camera1"


@needs_root
def test_first_directory_on_the_way_that_is_closed_is_named(
    config: dict[str, Any], opened: Open, start: Start, socket_dir: Path
) -> None:
    publisher = opened(config).new_publisher("camera1")
    socket_dir.chmod(0o750)
    os.chown(socket_dir, 0, BUS)
    viewer(start, SUBSCRIBER, config).line(f"refused: {no_right('enter', socket_dir, '0750')}")
    assert publisher.name == "camera1"


# The same without other users.


@pytest.fixture
def nobody_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)


@pytest.fixture
def file(socket_dir: Path) -> Path:
    file = socket_dir / "camera1"
    file.touch()
    file.chmod(0o660)
    return file


def test_file_that_is_not_there_is_no_error(socket_dir: Path) -> None:
    assert not forbidden(str(socket_dir / "camera1"))
    assert not forbidden(str(socket_dir / "missing" / "camera1"))


def test_file_that_this_user_may_connect_to_is_no_error(file: Path) -> None:
    assert not forbidden(str(file))


@pytest.mark.usefixtures("nobody_may")
def test_file_is_named_with_owner_group_mode_and_what_helps(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = accounts.described(str(file))
    assert f"has no right to connect to {described}: who publishes or serves there" in forbidden(str(file))
    found = os.stat_result((stat.S_IFSOCK | 0o660, 0, 0, 1, 0, BUS, 0, 0, 0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda _: found)
        told = forbidden(str(file))
    assert f"({accounts.user_name(0)}:{BUS}, mode 0660): join the group {BUS} (usermod -aG {BUS} " in told


def refusing(*paths: str) -> Callable[[str], os.stat_result]:
    real = os.stat

    def stat_or_refuse(path: str) -> os.stat_result:
        if str(path).rstrip("/") in paths:
            raise PermissionError(13, "Permission denied")
        return real(path)

    return stat_or_refuse


def test_directory_that_may_not_be_entered_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = accounts.described(str(file.parent))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refusing(str(file)))
        entered_by_now = forbidden(str(file))
        patch.setattr(os, "access", lambda path, *_, **__: path != str(file.parent))
        told = forbidden(str(file))
    assert (entered_by_now, f"has no right to enter {described}" in told) == ("", True)


@pytest.mark.usefixtures("nobody_may")
def test_file_that_is_gone_meanwhile_is_no_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [file.stat()]

    def once(_: str) -> os.stat_result:
        if found:
            return found.pop()
        raise FileNotFoundError(2, "No such file or directory")

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", once)
        told = forbidden(str(file))
    assert told == ""


def test_right_that_is_given_while_it_is_looked_at_is_no_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(*_: object, **__: object) -> bool:
        file.chmod(0o666)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(os, "access", give)
        told = forbidden(str(file))
    assert told == ""


def test_subscriber_opens_where_it_may_not_look(
    socket_dir: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = opened({"type": "zmq_ipc", "socket_dir": str(socket_dir)})
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refusing(str(socket_dir), f"{socket_dir}/camera1"))
        patch.setattr(os, "access", lambda path, *_, **__: path != "/")
        subscriber = bus.new_subscriber("camera1")
        with pytest.raises(mb.MessageBusAuthenticationFailed) as told:
            subscriber.recv(5000)
        status = subscriber.status
    assert "has no right to enter / (" in str(told.value)
    assert (status.state, status.reason, subscriber.stats.refused) == ("denied", str(told.value), 1)
    until(lambda: subscriber.status.state == "connecting")
    publisher = bus.new_publisher("camera1")
    publisher.wait_for_subscribers(1, 5000)
