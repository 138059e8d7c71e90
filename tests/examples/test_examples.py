"""Every example runs as a user runs it: as processes, with each example configuration, and ends with Ctrl-C."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from tests.examples.script import EXAMPLES, Script
from tests.tools.process import started

STREAMS = {  # the configurations of both ends
    "ipc": ("ipc", "ipc"),
    "ipc, shared socket file": ("ipc_shared_socket_file", "ipc_shared_socket_file"),
    "tcp": ("tcp", "tcp"),
    "tcp, CURVE": ("tcp_curve_publisher", "tcp_curve_subscriber"),
    "tcp, CURVE, allow-list": ("tcp_curve_allowed_publisher", "tcp_curve_subscriber"),
    "ipc, brokered": ("brokered_ipc_publisher", "brokered_ipc_subscriber"),
    "tcp, brokered": ("brokered_tcp_publisher", "brokered_tcp_subscriber"),
}
SERVICES = {
    "ipc": ("ipc", "ipc"),
    "ipc, shared socket file": ("ipc_shared_socket_file", "ipc_shared_socket_file"),
    "tcp": ("tcp", "tcp"),
    "tcp, CURVE": ("tcp_curve_service", "tcp_curve_client"),
    "tcp, CURVE, allow-list": ("tcp_curve_allowed_service", "tcp_curve_client"),
}
GUARDED = {  # (server's script and configuration, client's)
    "subscriber": ("publisher.py", "tcp_curve_allowed_publisher", "subscriber.py", "tcp_curve_subscriber"),
    "requester": ("echo_service.py", "tcp_curve_allowed_service", "echo_client.py", "tcp_curve_client"),
}
CONFIGS = sorted(path.name for path in (EXAMPLES / "configs").iterdir())


def config(folder: Path, name: str) -> Path:
    return folder / "configs" / f"{name}.json"


@contextmanager
def broker_for(folder: Path, name: str) -> Iterator[None]:
    """Run the broker that a publisher's configuration asks for, if it asks for one."""
    if not name.startswith("brokered"):
        yield
        return
    with started(folder, "broker", f"brokers/{'ipc' if 'ipc' in name else 'tcp'}.json") as broker:
        while "broker between" not in (line := broker.error_line()):
            assert "plain text" in line
        yield
        assert broker.interrupted()[0] == 130


def ends_with_ctrl_c(*scripts: Script) -> None:
    for script in scripts:
        script.interrupt()
        assert script.end() == 0, script.output
        assert "Quitting" in script.output
        assert "Traceback" not in script.output


@pytest.mark.parametrize(("sending", "receiving"), STREAMS.values(), ids=STREAMS)
def test_subscriber_receives_what_the_publisher_sends(folder: Path, sending: str, receiving: str) -> None:
    with (
        broker_for(folder, sending),
        Script(folder, "publisher.py", config(folder, sending)) as publisher,
        Script(folder, "subscriber.py", config(folder, receiving)) as subscriber,
    ):
        line = subscriber.until("Received publish_test")
        assert '"number": ' in line
        assert line.endswith("and 10 bytes\n")
        ends_with_ctrl_c(publisher, subscriber)


def test_subscriber_of_a_prefix_receives_every_topic_of_a_shared_socket_file(folder: Path) -> None:
    shared = config(folder, "ipc_shared_socket_file")
    with (
        Script(folder, "publisher.py", shared, "--topic", "publish_test_2") as publisher,
        Script(folder, "subscriber.py", shared, "--topic", "publish") as subscriber,
    ):
        subscriber.until("Received publish_test_2")
        ends_with_ctrl_c(publisher, subscriber)


def test_publisher_and_subscriber_end_with_ctrl_c_while_they_wait_for_each_other(folder: Path) -> None:
    with (
        Script(folder, "publisher.py", config(folder, "ipc"), "-t", "one") as publisher,
        Script(folder, "subscriber.py", config(folder, "ipc"), "-t", "two") as subscriber,
    ):
        publisher.until("Waiting for a subscriber")
        subscriber.until("Running")
        ends_with_ctrl_c(publisher, subscriber)


def test_subscriber_goes_on_when_its_publisher_was_started_again(folder: Path) -> None:
    with Script(folder, "subscriber.py", config(folder, "ipc")) as subscriber:
        for _ in range(2):
            with Script(folder, "publisher.py", config(folder, "ipc")) as publisher:
                subscriber.until('"number": 1,')
                ends_with_ctrl_c(publisher)
        ends_with_ctrl_c(subscriber)


def test_second_publisher_says_that_there_is_one(folder: Path) -> None:
    with (
        Script(folder, "publisher.py", config(folder, "ipc")) as first,
        Script(folder, "subscriber.py", config(folder, "ipc")) as subscriber,
    ):
        subscriber.until("Received")
        with Script(folder, "publisher.py", config(folder, "ipc")) as second:
            second.until("[ERROR] another publisher or service listens at ")
            assert second.end() == 1
        subscriber.until("Received")
        ends_with_ctrl_c(first, subscriber)


@pytest.mark.parametrize(("serving", "asking"), SERVICES.values(), ids=SERVICES)
def test_client_gets_the_echo_of_the_service(folder: Path, serving: str, asking: str) -> None:
    with (
        Script(folder, "echo_service.py", config(folder, serving)) as service,
        Script(folder, "echo_client.py", config(folder, asking)) as client,
    ):
        client.until("Reply: {'hello': 'world', 'number': 42}")
        assert client.end() == 0
        service.until("Received {'hello': 'world', 'number': 42}")
        ends_with_ctrl_c(service)


def test_client_that_was_started_first_waits_for_the_service(folder: Path) -> None:
    with Script(folder, "echo_client.py", config(folder, "ipc"), "--timeout", "20000") as client:
        client.until("Asking")
        with Script(folder, "echo_service.py", config(folder, "ipc")) as service:
            client.until("Reply")
            assert client.end() == 0
            ends_with_ctrl_c(service)


def test_client_says_so_when_nobody_answers(folder: Path) -> None:
    with Script(folder, "echo_client.py", config(folder, "ipc"), "--timeout", "100") as client:
        client.until("[ERROR] requester echo_service: no message within 100 ms")
        assert client.end() == 1


@pytest.mark.parametrize(("server", "serving", "script", "asking"), GUARDED.values(), ids=GUARDED)
def test_client_that_is_not_listed_is_told_why(
    folder: Path, server: str, serving: str, script: str, asking: str
) -> None:
    stranger, wanted = keys.new_key_pair(), json.loads(config(folder, asking).read_text())
    for entry in wanted.values():
        if isinstance(entry, dict):
            entry |= {"client_public_key": stranger.public, "client_secret_key": stranger.secret}
    config(folder, "stranger").write_text(json.dumps(wanted))
    with (
        Script(folder, server, config(folder, serving)) as running,
        Script(folder, script, config(folder, "stranger")) as client,
    ):
        client.until("refused this client: its key is not among the server's allowed_clients")
        assert client.end() == 1
        ends_with_ctrl_c(running)


def test_script_names_the_key_of_a_wrong_configuration(folder: Path) -> None:
    config(folder, "wrong").write_text('{"type": "zmq_ipc", "socket_dir": "nowhere"}')
    with Script(folder, "subscriber.py", config(folder, "wrong")) as subscriber:
        subscriber.until("[ERROR] config socket_dir: ")
        assert subscriber.end() == 1
        assert "Traceback" not in subscriber.output


@pytest.mark.parametrize("name", ["memory", "ipc", "tcp"])
def test_typed_results_are_received_and_asked_about(folder: Path, name: str) -> None:
    with Script(folder, "typed_asyncio.py", config(folder, name)) as script:
        script.until("frame 0: accept")
        script.until("frame 3: reject")
        assert script.end() == 0


@pytest.mark.parametrize("name", ["memory", "ipc", "tcp"])
def test_frames_arrive_unchanged(folder: Path, name: str) -> None:
    with Script(folder, "frames.py", config(folder, name)) as script:
        for number in range(5):
            script.until(f"frame {number}: (1080, 1920, 3), equal: True")
        assert script.end() == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_example_configuration_is_valid(folder: Path, name: str) -> None:
    with mb.MsgbusContext(folder / "configs" / name) as bus:
        assert bus.stats() == ()


def test_every_example_configuration_is_used_by_a_test() -> None:
    used = {name for pair in (*STREAMS.values(), *SERVICES.values()) for name in pair}
    assert {f"{name}.json" for name in used | {"memory"}} == set(CONFIGS)
