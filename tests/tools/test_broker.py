import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from tests.meeting import until
from tests.tools.process import COMMAND, DEADLINE, ENVIRONMENT, Started, msgbus, started

pytestmark = pytest.mark.once


@pytest.fixture
def place(folder: Path) -> Path:
    """A directory with the configurations of a broker, in one file and in two, and of its peers."""
    side: dict[str, Any] = {"type": "zmq_ipc", "socket_dir": str(folder / "sockets")}
    sides = {name: {**side, "": {"socket_file": name}} for name in ("frontend", "backend")}
    configs = {
        **sides,
        "broker": sides,
        "publisher": {**side, "": {"socket_file": "frontend", "brokered": True}},
        "subscriber": sides["backend"],
    }
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    return folder


def carries(folder: Path, count: int = 3, topic: str = "camera1") -> None:
    """See that messages come through the broker."""
    with mb.MsgbusContext(folder / "subscriber.json") as client, mb.MsgbusContext(folder / "publisher.json") as bus:
        subscriber, publisher = client.new_subscriber(topic), bus.new_publisher(topic)
        publisher.wait_for_subscribers(1, 10_000)
        for number in range(count):
            publisher.publish({"n": number})
            assert subscriber.recv(10_000).meta_data == {"n": number}


def began(broker: Started, folder: Path) -> None:
    assert broker.error_line() == f"msgbus: broker between {folder}/sockets/frontend and {folder}/sockets/backend\n"


@pytest.mark.parametrize("files", [("broker.json",), ("frontend.json", "backend.json")])
def test_messages_come_through_and_sigterm_ends_it_well(place: Path, files: tuple[str, ...]) -> None:
    with started(place, "broker", *files) as broker:
        began(broker, place)
        carries(place)
        broker.process.send_signal(signal.SIGTERM)
        assert broker.ended() == (0, "", "")
    assert not [path for path in (place / "sockets").iterdir() if path.is_socket()]


def test_lines_tell_what_goes_through_until_ctrl_c(place: Path) -> None:
    with started(place, "broker", "broker.json", "--stats", "--every", "0.1") as broker:
        began(broker, place)
        assert broker.line() == "nothing came\n"
        carries(place)
        until(lambda: " 3 messages, 0 dropped, 0 refused, 0 subscribers" in broker.line())
        assert broker.interrupted()[0::2] == (130, "")


def test_last_values_are_told_of_when_they_are_kept(place: Path) -> None:
    sides = json.loads((place / "broker.json").read_text())
    sides["backend"]["last_value"] = True
    (place / "keeping.json").write_text(json.dumps(sides))
    with started(place, "broker", "keeping.json", "--stats", "--every", "0.1") as broker:
        began(broker, place)
        carries(place)
        until(lambda: broker.line() == "last values: 1 topics, 17 bytes, 0 given, 0 forgotten, 0 missed\n")
        assert msgbus(place, "sub", "camera1", "-c", "subscriber.json", "-n", "1", "--timeout", "20")[0] == 0
        until(lambda: broker.line() == "last values: 1 topics, 17 bytes, 1 given, 0 forgotten, 0 missed\n")


def test_json_tells_every_count_when_asked_for(place: Path) -> None:
    with started(place, "broker", "broker.json", "--stats", "--every", "0.1", "--json") as broker:
        began(broker, place)
        carries(place)
        until(lambda: topic_of(broker.line()).get("messages") == 3)


def topic_of(line: str) -> dict[str, int]:
    topics: dict[str, dict[str, int]] = json.loads(line)["topics"]
    return topics.get("camera1", {})


@pytest.mark.parametrize("topic", ["camera1", "[/camera1]"])
def test_a_table_is_drawn_in_a_terminal_whatever_a_publisher_calls_its_topic(place: Path, topic: str) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "broker", "broker.json", "--stats", "--every", "0.1"]
    with subprocess.Popen(command, cwd=place, env=ENVIRONMENT, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        shown = b""
        try:
            assert process.stderr is not None
            process.stderr.readline()
            carries(place, topic=topic)
            while topic.encode() not in shown:
                shown += os.read(ours, 4096)
            assert b"messages/s" in shown
        finally:
            process.terminate()
            process.wait(DEADLINE)
            os.close(ours)


def test_services_share_requests_and_are_told_of_until_sigterm(place: Path) -> None:
    sides = {name: {"type": "zmq_ipc", "socket_dir": "sockets", "echo": {"socket_file": name}} for name in ("e", "b1")}
    (place / "services.json").write_text(
        json.dumps({"services": {"echo": {"frontend": sides["e"], "backends": [sides["b1"]]}}})
    )
    with (
        started(place, "broker", "services.json", "--stats", "--every", "0.1") as broker,
        mb.MsgbusContext(sides["b1"] | {"socket_dir": str(place / "sockets")}) as bus,
        mb.MsgbusContext(sides["e"] | {"socket_dir": str(place / "sockets")}) as client,
        bus.new_service("echo") as service,
        client.get_service("echo") as requester,
    ):
        assert broker.error_line() == f"msgbus: broker of echo at {place}/sockets/e, for {place}/sockets/b1\n"
        requester.request({"n": 1})
        service.response(service.recv(DEADLINE * 1000).meta_data)
        assert requester.recv(DEADLINE * 1000).meta_data == {"n": 1}
        until(lambda: broker.line() == f"echo: {COUNTED}; 1 of 1 services connected\n")
        broker.process.send_signal(signal.SIGTERM)
        assert broker.ended()[0::2] == (0, "")


COUNTED = (
    "1 requests, 1 answered, 0 lost, 0 unanswered, 0 expired, 0 refused, 0 malformed, 0 waiting, 0 taken, 0 dropped"
)


def test_it_ends_with_the_reason_when_it_cannot_go_on(place: Path) -> None:
    code = "from eis.msgbus.broker.proxying import Proxying; Proxying.work = lambda self: 1 / 0\n"
    code += "import sys; from eis.msgbus.tools import main; sys.exit(main(['broker', 'broker.json']))"
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, cwd=place, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True) as process:
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (1, "")
    assert "msgbus: the broker has ended: division by zero\n" in err
    assert not [path for path in (place / "sockets").iterdir() if path.is_socket()]


def test_it_does_not_start_when_the_configuration_is_wrong(place: Path) -> None:
    (place / "wrong.json").write_text('{"frontend": {}, "backend": {}}')
    status, out, err = msgbus(place, "broker", "wrong.json")
    assert (status, out) == (2, "")
    assert err == 'msgbus: config frontend.type: expected the name of a transport ("zmq_ipc", "zmq_tcp"), got nothing\n'
