"""TCP without keys says so once for each address, or is an error where encryption is required."""

from collections.abc import Callable
from typing import Any

import pytest

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import Sides

REQUIRED = "needs it: without it everything is plain text"


@pytest.fixture
def plain(make_sides: Callable[[str], Sides]) -> Sides:
    return make_sides("tcp")


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [message for message in caplog.messages if "plain text" in message]


def test_plain_text_is_told_once_for_each_address(
    plain: Sides, opened: Open, warnings: Callable[[], list[str]]
) -> None:
    for _ in range(2):
        server, client = opened(plain.server), opened(plain.client)
        endpoints = [server.new_publisher("camera1"), client.new_subscriber("camera1"), client.get_service("echo")]
        for endpoint in endpoints:
            endpoint.close()
    [listening, connecting] = warnings()
    port = plain.server["zmq_tcp_publish"]["port"]
    assert listening.startswith(f"127.0.0.1:{port}: plain text, without keys: whoever reaches this port reads")
    assert connecting.startswith(f"127.0.0.1:{plain.server['echo']['port']}: plain text")
    assert "require_encryption" in listening


@pytest.mark.parametrize("mode", ["ipc", "curve", "allow"])
def test_nothing_is_told_where_nothing_is_plain_text_on_a_network(
    make_sides: Callable[[str], Sides], opened: Open, warnings: Callable[[], list[str]], mode: str
) -> None:
    sides = make_sides(mode)
    opened(sides.server).new_publisher("camera1")
    opened(sides.client).new_subscriber("camera1")
    assert warnings() == []


ENDPOINTS: dict[str, Callable[[mb.MsgbusContext, mb.MsgbusContext], object]] = {
    "zmq_tcp_publish.server_secret_key": lambda server, _: server.new_publisher("camera1"),
    "echo.server_secret_key": lambda server, _: server.new_service("echo"),
    "camera1.server_public_key": lambda _, client: client.new_subscriber("camera1"),
    "echo.server_public_key": lambda _, client: client.get_service("echo"),
}


def open_plainly(plain: Sides, opened: Open, where: str, **more: Any) -> None:
    ENDPOINTS[where](opened(plain.server | more), opened(plain.client | more))


@pytest.mark.parametrize("where", ENDPOINTS)
def test_plain_text_is_an_error_where_the_configuration_requires_encryption(
    plain: Sides, opened: Open, where: str
) -> None:
    with pytest.raises(mb.InvalidConfig, match=f"require_encryption {REQUIRED}") as caught:
        open_plainly(plain, opened, where, require_encryption=True)
    assert caught.value.where == where


@pytest.mark.parametrize("said", ["1", "true", "YES"])
@pytest.mark.parametrize("where", ENDPOINTS)
def test_plain_text_is_an_error_where_the_environment_requires_encryption(
    plain: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch, where: str, said: str
) -> None:
    monkeypatch.setenv("MSGBUS_REQUIRE_ENCRYPTION", said)
    with pytest.raises(mb.InvalidConfig, match=f"MSGBUS_REQUIRE_ENCRYPTION {REQUIRED}") as caught:
        open_plainly(plain, opened, where, require_encryption=False)
    assert caught.value.where == where


@pytest.mark.parametrize("said", ["", "0", "false", "No"])
def test_plain_text_is_allowed_where_nothing_requires_encryption(
    plain: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("MSGBUS_REQUIRE_ENCRYPTION", said)
    open_plainly(plain, opened, "echo.server_public_key", require_encryption=False)


@pytest.mark.parametrize("mode", ["ipc", "tcp", "curve"])
def test_environment_that_says_neither_yes_nor_no_is_an_error(
    make_sides: Callable[[str], Sides], opened: Open, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("MSGBUS_REQUIRE_ENCRYPTION", "on")
    with pytest.raises(mb.InvalidConfig, match="expected 1, true, yes, 0, false or no, got 'on'"):
        opened(make_sides(mode).server)


@pytest.mark.parametrize("mode", ["ipc", "curve", "allow"])
def test_everything_else_works_where_encryption_is_required(
    make_sides: Callable[[str], Sides], opened: Open, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("MSGBUS_REQUIRE_ENCRYPTION", "1")
    sides = make_sides(mode)
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}
