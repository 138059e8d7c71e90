"""`msgbus doctor` says which of the known reasons holds, each one made for real."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from tests.tools.process import DEADLINE, ENVIRONMENT, msgbus
from tests.tools.repeating import repeating
from tests.transports.zmq.helpers import BECOME

pytestmark = pytest.mark.once

SERVER, CLIENT, OTHER = keys.new_key_pair(), keys.new_key_pair(), keys.new_key_pair()
OF_CLIENT = {
    "server_public_key": SERVER.public,
    "client_public_key": CLIENT.public,
    "client_secret_key": CLIENT.secret,
}
AS_ANOTHER_USER = f"""
import os
import sys
import eis.msgbus as mb
{BECOME}
import contextlib
import io
from eis.msgbus.tools import main

with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(["doctor", sys.argv[2], "nobody", "--timeout", "0.1"])  # loads what the user may not be able to read
become(54321, 54321)
sys.exit(main(sys.argv[1:]))
"""
Config = dict[str, Any]
Diagnosed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def diagnosed(folder: Path) -> Diagnosed:
    """`diagnosed(config, "camera1")`: status, reason and text of `msgbus doctor`."""

    def diagnose(config: Config, *arguments: str) -> tuple[int, str, str]:
        (folder / "client.json").write_text(json.dumps(config))
        status, out, err = msgbus(folder, "doctor", "client.json", *arguments, "--json")
        assert err == ""
        assert not any(pair.secret in out for pair in (SERVER, CLIENT, OTHER))
        found = json.loads(out)
        return status, found["reason"], f"{found['text']}: {found['advice']}"

    return diagnose


@contextmanager
def publishing(config: Config, topic: str) -> Iterator[mb.Publisher]:
    """Publish a topic again and again."""
    with mb.MsgbusContext(config) as bus:
        publisher = bus.new_publisher(topic)
        with repeating(lambda: publisher.publish({"n": 1}), 0.02):
            yield publisher


def at(port: int, **more: Any) -> Config:
    return {"host": "127.0.0.1", "port": port, **more}


def camera(port: int, **more: Any) -> Config:
    return {"type": "zmq_tcp", "zmq_tcp_publish": at(port, server_secret_key=SERVER.secret), **more}


def test_all_is_well_when_a_message_comes(diagnosed: Diagnosed, tcp_port: int) -> None:
    with publishing(camera(tcp_port), "camera1"):
        status, reason, text = diagnosed({"type": "zmq_tcp", "camera1": at(tcp_port, **OF_CLIENT)}, "camera1")
    assert (status, reason) == (0, "")
    assert text.startswith("a message came, after ")


def test_all_is_well_when_the_service_is_there_and_it_gets_no_request(diagnosed: Diagnosed, tcp_port: int) -> None:
    config = {"type": "zmq_tcp", "echo": at(tcp_port)}
    with mb.MsgbusContext(config) as bus, bus.new_service("echo") as service:
        assert diagnosed(config, "echo", "--service")[:2] == (0, "")
        with pytest.raises(mb.NoMessage):
            service.recv(0)


@pytest.mark.parametrize("service", [[], ["--service"]])
def test_nothing_listens_when_the_port_is_closed(service: list[str], diagnosed: Diagnosed, tcp_port: int) -> None:
    config = {"type": "zmq_tcp", "x": at(tcp_port)}
    status, reason, text = diagnosed(config, "x", *service, "--timeout", "1")
    assert (status, reason) == (1, "nothing-listens")
    assert f"nothing of the bus listens at 127.0.0.1:{tcp_port} (Connection refused)" in text


def test_nothing_listens_when_the_host_is_unknown(diagnosed: Diagnosed) -> None:
    config = {"type": "zmq_tcp", "x": {"host": "nosuch.invalid", "port": 1}}
    assert diagnosed(config, "x", "--timeout", "0.5")[:2] == (1, "nothing-listens")


def test_the_files_that_are_there_are_named_when_that_of_the_topic_is_not(diagnosed: Diagnosed, folder: Path) -> None:
    config = json.loads((folder / "bus.json").read_text())
    with mb.MsgbusContext(config) as bus, bus.new_publisher("camera1"):
        status, reason, text = diagnosed(config, "camera2", "--timeout", "0.5")
    assert (status, reason) == (1, "nothing-listens")
    assert f"there is no socket file {folder}/sockets/camera2" in text
    assert text.endswith("here are camera1")


@pytest.mark.parametrize("service", [[], ["--service"]])
def test_nothing_listens_when_there_is_no_directory_yet(service: list[str], diagnosed: Diagnosed, folder: Path) -> None:
    config = {"type": "zmq_ipc", "socket_dir": str(folder / "none")}
    status, reason, text = diagnosed(config, "camera1", *service, "--timeout", "0.5")
    assert (status, reason) == (1, "nothing-listens")
    assert f"there is no directory {folder / 'none'}: start what publishes or serves there" in text


def test_nobody_listens_when_a_socket_file_was_left_behind(diagnosed: Diagnosed, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "sockets" / "camera1"))
    config = json.loads((folder / "bus.json").read_text())
    status, reason, text = diagnosed(config, "camera1", "--timeout", "0.5")
    assert (status, reason) == (1, "nothing-listens")
    assert "is there, and nobody listens at it" in text


@pytest.mark.parametrize("encrypted", ["the server", "the client"])
def test_the_mode_is_wrong_when_one_side_has_keys(encrypted: str, diagnosed: Diagnosed, tcp_port: int) -> None:
    server = camera(tcp_port) if encrypted == "the server" else {"type": "zmq_tcp", "zmq_tcp_publish": at(tcp_port)}
    client = at(tcp_port) if encrypted == "the server" else at(tcp_port, **OF_CLIENT)
    with publishing(server, "camera1"):
        found = diagnosed({"type": "zmq_tcp", "camera1": client}, "camera1")
    assert found[:2] == (1, "wrong-mode")
    assert "give both sides keys, or none of them" in found[2]


def test_the_mode_is_wrong_when_a_service_listens_there(diagnosed: Diagnosed, tcp_port: int) -> None:
    config = {"type": "zmq_tcp", "x": at(tcp_port)}
    with mb.MsgbusContext(config) as bus, bus.new_service("x"):
        status, reason, text = diagnosed(config, "x", "--timeout", "1")
    assert (status, reason) == (1, "wrong-mode")
    assert "a service listens there, and no publisher" in text


def test_the_mode_is_wrong_when_something_else_listens_there(diagnosed: Diagnosed, tcp_port: int) -> None:
    with socket.create_server(("127.0.0.1", tcp_port)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(10)
                    connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = diagnosed({"type": "zmq_tcp", "x": at(tcp_port)}, "x", "--timeout", "1")
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert found[:2] == (1, "wrong-mode")
    assert "and is not the bus" in found[2]


def test_the_key_is_refused_when_it_is_not_listed(diagnosed: Diagnosed, tcp_port: int) -> None:
    with publishing(camera(tcp_port, allowed_clients=[OTHER.public]), "camera1"):
        found = diagnosed({"type": "zmq_tcp", "camera1": at(tcp_port, **OF_CLIENT)}, "camera1")
    assert found[:2] == (1, "refused-key")


@pytest.mark.parametrize("service", [[], ["--service"]])
def test_the_server_key_is_wrong_when_it_is_anothers(service: list[str], diagnosed: Diagnosed, tcp_port: int) -> None:
    wrong = OF_CLIENT | {"server_public_key": OTHER.public}
    server = (
        camera(tcp_port) if not service else {"type": "zmq_tcp", "x": at(tcp_port, server_secret_key=SERVER.secret)}
    )
    with mb.MsgbusContext(server) as bus:
        _ = bus.new_service("x") if service else bus.new_publisher("x")
        found = diagnosed({"type": "zmq_tcp", "x": at(tcp_port, **wrong)}, "x", *service, "--timeout", "20")
    assert found[:2] == (1, "wrong-server-key")


def test_other_topics_are_named_when_this_one_is_not_published(
    diagnosed: Diagnosed, folder: Path, tcp_port: int
) -> None:
    keys.write_pair(CLIENT, folder / "viewer")
    in_files = OF_CLIENT | {"client_secret_key": {"file": "viewer.secret"}}
    with publishing(camera(tcp_port), "camera1"):
        config = {"type": "zmq_tcp", "kamera1": at(tcp_port, **in_files)}
        status, reason, text = diagnosed(config, "kamera1", "--timeout", "1")
    assert (status, reason) == (1, "not-published")
    assert text.endswith("published there just now: 'camera1'")


def test_it_is_said_that_nothing_is_published_when_all_is_silent(diagnosed: Diagnosed, folder: Path) -> None:
    config = json.loads((folder / "bus.json").read_text())
    with mb.MsgbusContext(config) as bus, bus.new_publisher("camera1"):
        status, reason, text = diagnosed(config, "camera1", "--timeout", "0.5")
    assert (status, reason) == (1, "not-published")
    assert "nobody publishes anything there" in text


def test_there_is_no_permission_when_a_list_leaves_the_user_out(diagnosed: Diagnosed, folder: Path) -> None:
    config = json.loads((folder / "bus.json").read_text())
    with mb.MsgbusContext(config | {"camera1": {"allowed_users": []}}) as bus, bus.new_publisher("camera1"):
        assert diagnosed(config, "camera1")[:2] == (1, "no-permission")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root becomes other users")
def test_there_is_no_permission_when_the_user_may_not_connect(folder: Path) -> None:
    config = json.loads((folder / "bus.json").read_text())
    for directory in (folder, folder / "sockets"):
        directory.chmod(0o711)
    with mb.MsgbusContext(config) as bus, bus.new_publisher("camera1"):
        command = [sys.executable, "-c", AS_ANOTHER_USER, "doctor", str(folder / "bus.json"), "camera1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (1, "")
    assert "(uid 54321) has no right to connect to" in done.stdout


def test_the_status_is_2_when_the_configuration_is_wrong(folder: Path) -> None:
    (folder / "x.json").write_text('{"type": "zmq_tcp"}')
    status, out, err = msgbus(folder, "doctor", "x.json", "camera1")
    assert (status, out) == (2, "")
    assert err == "msgbus: config camera1: expected an object with host and port, got nothing\n"
    assert msgbus(folder, "doctor", "none.json", "camera1")[0] == 2
    (folder / "x.json").write_text('{"type": "memory"}')
    status, _, err = msgbus(folder, "doctor", "x.json", "camera1")
    assert status == 2
    assert "expected one of type zmq_ipc or zmq_tcp" in err
