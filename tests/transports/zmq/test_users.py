"""Who gets in at a socket file by allowed_users and allowed_groups: real programs of real users, old ones too."""

import contextlib
import os
import socket
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

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes other users")

CAMERA, VIEWER, OTHER = 54321, 54322, 54323  # users, and groups, that no system has an account for
BUS = 54320  # the group of the socket files: all of them reach those

SUBSCRIBER = """
become(config["user"], config["group"], *config["groups"])
bus = mb.MsgbusContext(config["bus"])
subscriber = bus.new_subscriber("camera1")
print("ready")
try:
    print("got", subscriber.recv(8000).meta_data["n"])
except mb.MessageBusAuthenticationFailed as error:
    print("refused:", error)
print("then", subscriber.recv(8000).meta_data["n"])
"""

RAW_SUBSCRIBER = """
import zmq
socket = zmq.Context().socket(zmq.SUB)
events = socket.get_monitor_socket()
become(config["user"], config["group"], *config["groups"])
socket.subscribe(b"")
socket.connect("ipc://" + config["bus"]["socket_dir"] + "/camera1")
print("ready")
poller = zmq.Poller()
poller.register(socket, zmq.POLLIN), poller.register(events, zmq.POLLIN)
while True:
    ready = dict(poller.poll(8000))
    if socket in ready:
        print("got", socket.recv_multipart()[-1].decode())
        break
    event = int.from_bytes(events.recv_multipart()[0][:2], sys.byteorder)
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        print("refused")
        break
"""


@pytest.fixture
def directory(socket_dir: Path) -> Path:
    """A directory that all may enter, whose files are for the group of the bus."""
    if os.geteuid() == 0:
        os.chown(socket_dir, -1, BUS)
    socket_dir.chmod(0o2751)
    return socket_dir


@pytest.fixture
def config(directory: Path) -> dict[str, Any]:
    return {"type": "zmq_ipc", "socket_dir": str(directory), "camera1": {"allowed_users": [VIEWER]}}


def somebody(  # noqa: PLR0917  # who it is
    start: Start, code: str, config: object, user: int, group: int = 0, groups: tuple[int, ...] = (BUS,)
) -> Program:
    told = {"bus": config, "user": user, "group": group or user, "groups": groups}
    return start(BECOME + code, told)


def publish_until(publisher: mb.Publisher, happened: Callable[[], object]) -> None:
    def publish() -> object:
        publisher.publish({"n": 1})
        return happened()

    until(publish, 20)


@needs_root
def test_subscriber_of_a_listed_user_gets_messages_and_others_of_its_group_are_told_why_not(
    config: dict[str, Any], opened: Open, start: Start
) -> None:
    publisher = opened(config).new_publisher("camera1")
    other = somebody(start, SUBSCRIBER, config, OTHER)
    viewer = somebody(start, SUBSCRIBER, config, VIEWER)
    refusal = (
        f"refused: {config['socket_dir']}/camera1 refused this client: its user {OTHER} (uid {OTHER}) is neither in "
        "allowed_users nor in a group of allowed_groups (ZAP status 400)"
    )
    publish_until(publisher, lambda: viewer.says("then 1", 0.01) and other.says(refusal, 0.01))
    assert not other.says("got 1", 0)
    assert publisher.stats.clients == {str(VIEWER): 1}
    assert publisher.stats.refused >= 1


@needs_root
@pytest.mark.parametrize(
    ("lists", "user", "group", "groups", "gets_in"),
    [
        ({"allowed_users": [VIEWER]}, VIEWER, VIEWER, (BUS,), True),
        ({"allowed_users": [VIEWER]}, OTHER, OTHER, (BUS,), False),
        ({"allowed_users": [VIEWER]}, OTHER, VIEWER, (BUS,), False),
        ({"allowed_groups": [VIEWER]}, OTHER, VIEWER, (BUS,), True),
        ({"allowed_groups": [VIEWER]}, OTHER, OTHER, (BUS, VIEWER), False),
        ({"allowed_groups": [BUS]}, OTHER, BUS, (), True),
        ({"allowed_users": [VIEWER]}, 0, 0, (), False),
        ({"allowed_users": ["root"]}, 0, 0, (), True),
        ({"allowed_users": []}, VIEWER, BUS, (), False),
        ({}, OTHER, OTHER, (BUS,), True),
        ({}, OTHER, OTHER, (), False),
    ],
)
def test_old_subscriber_gets_in_only_when_its_user_or_its_first_group_is_listed(  # noqa: PLR0917  # a table
    lists: dict[str, Any],
    user: int,
    group: int,
    groups: tuple[int, ...],
    gets_in: bool,
    config: dict[str, Any],
    opened: Open,
    start: Start,
) -> None:
    publisher = opened({**config, "camera1": lists}).new_publisher("camera1")
    peer = somebody(start, RAW_SUBSCRIBER, config, user, group, groups)
    peer.line("ready")
    if gets_in:
        publish_until(publisher, lambda: peer.says('got {"n":1}', 0.01))
    elif lists:
        peer.line("refused")
        assert publisher.stats.refused >= 1
    else:
        publish_until(publisher, lambda: publisher.stats.sent > 100)
        assert not peer.says('got {"n":1}', 0.2)


@needs_root
def test_service_answers_a_listed_user_only(config: dict[str, Any], opened: Open, start: Start) -> None:
    code = """
become(config["user"], config["group"], *config["groups"])
bus = mb.MsgbusContext(config["bus"])
requester = bus.get_service("camera1")
try:
    print("got", requester.request({"n": 1}, timeout=8000).meta_data["n"])
except mb.MessageBusAuthenticationFailed as error:
    print("refused")
"""
    service = opened(config).new_service("camera1")
    other, viewer = somebody(start, code, config, OTHER), somebody(start, code, config, VIEWER)
    other.line("refused")
    assert service.recv(15000).meta_data == {"n": 1}
    service.response({"n": 2})
    viewer.line("got 2")
    with pytest.raises(mb.NoMessage):
        service.recv(0)
    assert service.stats.clients == {str(VIEWER): 1}


def test_own_user_gets_in_only_when_it_is_listed(config: dict[str, Any], opened: Open) -> None:
    with opened({**config, "camera1": {"allowed_users": []}}) as bus:
        publisher = bus.new_publisher("camera1")
        with pytest.raises(mb.MessageBusAuthenticationFailed, match="neither in allowed_users nor in a group"):
            bus.new_subscriber("camera1").recv(5000)
        assert publisher.stats.refused >= 1
    mine = opened({**config, "camera1": {"allowed_users": [os.geteuid()]}})
    publisher, subscriber = mine.new_publisher("camera1"), mine.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_subscriber_gets_in_as_soon_as_its_user_is_listed(config: dict[str, Any], opened: Open) -> None:
    with opened({**config, "camera1": {"allowed_users": []}}) as bus:
        refusing, subscriber = bus.new_publisher("camera1"), opened(config).new_subscriber("camera1")
        with pytest.raises(mb.MessageBusAuthenticationFailed):
            subscriber.recv(5000)
        refusing.close()
    publisher = opened({**config, "camera1": {"allowed_users": [os.geteuid()]}}).new_publisher("camera1")
    publisher.wait_for_subscribers(1, 10000)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_peer_of_an_older_protocol_gets_nothing_where_there_is_a_list(
    version: int, config: dict[str, Any], opened: Open
) -> None:
    """ZMTP 1.0 and 2.0 ask nobody who comes in."""
    bus = opened({**config, "camera1": {"allowed_users": [os.geteuid()]}})
    publisher, good = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    greeting = {0: b"\1\0", 1: b"\xff\0\0\0\0\0\0\0\1\x7f\0\2\0\0", 2: b"\xff\0\0\0\0\0\0\0\1\x7f\1\2\0\0"}[version]
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(f"{config['socket_dir']}/camera1")
        peer.sendall(greeting + b"\0\1\1")
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := peer.recv(4096):
                received += chunk
    publisher.publish({"n": 1})
    assert good.recv(5000).meta_data == {"n": 1}
    assert b'"n"' not in received


def test_topics_of_one_file_need_the_same_list(config: dict[str, Any], opened: Open) -> None:
    shared = {
        "": {"socket_file": "pub", "allowed_users": [os.geteuid()]},
        "camera2": {"socket_file": "pub", "allowed_users": [VIEWER]},
        "camera3": {"socket_file": "pub", "allowed_users": [os.geteuid()]},
    }
    bus = opened({"type": "zmq_ipc", "socket_dir": config["socket_dir"], **shared})
    first = bus.new_publisher("camera1")
    with pytest.raises(mb.InvalidConfig, match="the same allowed_users and allowed_groups for all topics") as caught:
        bus.new_publisher("camera2")
    assert caught.value.where == "camera2"
    assert [first.name, bus.new_publisher("camera3").name] == ["camera1", "camera3"]


def test_topic_without_a_list_is_not_served_by_the_socket_of_one_with_a_list(
    config: dict[str, Any], opened: Open
) -> None:
    bus = opened({**config, "camera1": {"socket_file": "pub", "allowed_users": [VIEWER]}})
    first = bus.new_publisher("camera1")
    with pytest.raises(mb.InvalidConfig, match="the same allowed_users") as caught:
        bus.new_publisher("pub")
    assert (first.name, caught.value.where) == ("camera1", "pub")


def test_unknown_user_is_an_error_before_there_is_a_file(config: dict[str, Any], opened: Open, directory: Path) -> None:
    bus = opened({**config, "camera1": {"allowed_users": ["nobody-has-this-name"]}})
    with pytest.raises(mb.InvalidConfig, match="expected a user of this system") as caught:
        bus.new_publisher("camera1")
    assert caught.value.where == "camera1.allowed_users[0]"
    assert list(directory.iterdir()) == []
