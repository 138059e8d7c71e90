"""What a broker is told: in one file, in two, or as interfaces; and what is refused, and where."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus.broker import Broker, LastValue, Settings, Side, read

SECRET = keys.new_key_pair()
FRONT: dict[str, Any] = {"type": "zmq_tcp", "": {"host": "127.0.0.1", "port": 5001}}
BACK: dict[str, Any] = {"type": "zmq_tcp", "zmq_tcp_publish": {"host": "127.0.0.1"}}
SERVES: dict[str, Any] = {"type": "zmq_tcp", "echo": {"host": "127.0.0.1", "port": 5002}}
ECHO: dict[str, Any] = {"frontend": SERVES, "backends": [SERVES | {"echo": {"host": "127.0.0.1", "port": 5003}}]}
INTERFACES: dict[str, Any] = {
    "config": {"sched_policy": "SCHED_BATCH", "sched_priority": 0},
    "interfaces": {
        "Subscribers": [
            {
                "Name": "frontend",
                "Type": "zmq_tcp",
                "EndPoint": "127.0.0.1:60514",
                "PublisherAppName": "*",
                "Topics": ["*"],
                "AllowedClients": ["*"],
                "zmq_recv_hwm": 50,
            }
        ],
        "Publishers": [
            {
                "Name": "backend",
                "Type": "zmq_ipc",
                "EndPoint": {"SocketDir": "/EII/sockets", "SocketFile": "backend"},
                "Topics": ["*"],
                "AllowedClients": ["*"],
                "zmq_send_hwm": 20,
                "zmq_xpub_nodrop": 1,
            }
        ],
    },
}


def written(folder: Path, *values: Any) -> list[Path]:
    paths = [folder / f"{index}.json" for index in range(len(values))]
    for path, value in zip(paths, values, strict=True):
        path.write_text(json.dumps(value))
    return paths


def settings(folder: Path, *values: Any, **environment: str) -> Settings:
    return read(written(folder, *values), environment=environment)


def side(found: Side | None) -> Side:
    assert found is not None
    return found


def test_two_files_are_the_two_sides_as_with_the_original(tmp_path: Path) -> None:
    found = settings(tmp_path, FRONT, {**BACK, "zmq_send_hwm": 7, "zmq_xpub_nodrop": True})
    bind = {"host": "127.0.0.1", "port": 5001}
    assert found.frontend == Side("frontend", {"type": "zmq_tcp", "native": False, "zmq_tcp_publish": bind})
    assert side(found.backend).config["zmq_tcp_publish"] == {"host": "127.0.0.1", "port": 60515}
    assert (side(found.backend).send_queue, side(found.backend).nodrop) == (7, True)
    assert (found.policy, found.priority) == (None, 0)


def test_last_values_are_kept_of_all_topics_or_of_those_that_begin_so_within_limits(tmp_path: Path) -> None:
    chosen = {"topics": ["state", "alarm"], "max_topics": 5, "max_bytes": 1000}
    written = (False, True, {"max_topics": 5}, chosen)
    found = [side(settings(tmp_path, FRONT, {**BACK, "last_value": value}).backend).last_value for value in written]
    assert found == [
        None,
        LastValue(("",), 1000, 64 * 2**20),
        LastValue(("",), 5, 64 * 2**20),
        LastValue(("state", "alarm"), 5, 1000),
    ]


def test_one_file_has_both_sides_and_keys_in_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "broker.secret").write_text(SECRET.secret)
    (tmp_path / "broker.secret").chmod(0o600)
    front = {"type": "zmq_tcp", "": {"host": "*", "server_secret_key": {"file": "broker.secret"}}}
    found = settings(tmp_path, {"frontend": front, "backend": BACK, "sched_policy": "SCHED_RR", "sched_priority": 3})
    assert side(found.frontend).config["zmq_tcp_publish"]["server_secret_key"] == SECRET.secret
    assert side(found.frontend).config["zmq_tcp_publish"]["port"] == 60514
    assert SECRET.secret not in repr(found)
    assert (found.policy, found.priority) == ("SCHED_RR", 3)


def test_interfaces_of_the_original_are_understood(tmp_path: Path) -> None:
    found = settings(tmp_path, INTERFACES, AppName="ZmqBroker", DEV_MODE="true")
    assert side(found.frontend).config == {
        "type": "zmq_tcp",
        "zmq_recv_hwm": 50,
        "native": False,
        "zmq_tcp_publish": {"host": "127.0.0.1", "port": 60514},
    }
    assert side(found.backend).config[""] == {"socket_file": "backend"}
    assert (side(found.backend).send_queue, side(found.backend).nodrop, found.policy) == (20, True, "SCHED_BATCH")


def test_services_stand_alone_or_beside_the_sides_with_keys_in_files(tmp_path: Path) -> None:
    (tmp_path / "broker.secret").write_text(SECRET.secret)
    (tmp_path / "broker.secret").chmod(0o600)
    guarded = SERVES | {"echo": SERVES["echo"] | {"server_secret_key": {"file": "broker.secret"}}}
    services = {"echo": ECHO | {"frontend": guarded, "timeout": 500, "queue": 7}}
    found = settings(tmp_path, {"services": services, "sched_policy": "SCHED_BATCH"})
    (service,) = found.services
    assert (found.frontend, found.backend, found.policy) == (None, None, "SCHED_BATCH")
    assert service.frontend["echo"]["server_secret_key"] == SECRET.secret
    assert (service.name, service.timeout, service.queue, len(service.backends)) == ("echo", 500, 7, 1)
    assert SECRET.secret not in repr(found)
    assert settings(tmp_path, {"frontend": FRONT, "backend": BACK, "services": services}).services == (service,)


def test_interfaces_in_production_have_keys_and_lists(tmp_path: Path) -> None:
    store = {"Publickeys/ZmqBroker": SECRET.public, "ZmqBroker/private_key": SECRET.secret}
    paths = written(tmp_path, {"interfaces": INTERFACES["interfaces"]}, store)
    found = read(paths[:1], paths[1], {"AppName": "ZmqBroker", "DEV_MODE": "false"})
    assert side(found.frontend).config["allowed_clients"] == [SECRET.public]
    assert side(found.frontend).config["zmq_tcp_publish"]["server_secret_key"] == SECRET.secret


def test_environment_schedules_where_the_file_does_not(tmp_path: Path) -> None:
    found = settings(tmp_path, FRONT, BACK, SCHED_POLICY="SCHED_FIFO", SCHED_PRIORITY="9")
    assert (found.policy, found.priority) == ("SCHED_FIFO", 9)


@pytest.mark.parametrize(
    ("value", "where", "problem"),
    [
        ([], "0.json", "expected an object, got list"),
        ({"frontend": FRONT}, "backend", "expected an object, got nothing"),
        ({"frontend": FRONT, "backend": []}, "backend", "expected an object, got list"),
        ({"frontend": FRONT, "backend": BACK, "stats": 1}, "stats", "unknown key"),
        ({"frontend": {"type": "memory"}, "backend": BACK}, "frontend.type", "expected one of zmq_ipc, zmq_tcp"),
        ({"frontend": {"type": "zmq_tcp", "": 5001}, "backend": BACK}, "frontend.zmq_tcp_publish", "got int"),
        ({"frontend": {**FRONT, "zmq_send_hwm": 1}, "backend": BACK}, "frontend.zmq_send_hwm", "at the backend"),
        ({"frontend": FRONT, "backend": {**BACK, "zmq_send_hwm": -1}}, "backend.zmq_send_hwm", "from 0 to"),
        ({"frontend": FRONT, "backend": {**BACK, "zmq_send_hwm": True}}, "backend.zmq_send_hwm", "got True"),
        ({"frontend": FRONT, "backend": {**BACK, "zmq_xpub_nodrop": 2}}, "backend.zmq_xpub_nodrop", "got 2"),
        ({"frontend": FRONT, "backend": BACK, "sched_policy": "FIFO"}, "sched_policy", "expected one of SCHED_OTHER"),
        ({"frontend": FRONT, "backend": BACK, "sched_priority": "high"}, "sched_priority", "got 'high'"),
        ({"interfaces": {"Publishers": []}}, "Subscribers", "got none"),
        ({"frontend": {**FRONT, "last_value": True}, "backend": BACK}, "frontend.last_value", "at the backend"),
        ({"frontend": FRONT, "backend": {**BACK, "last_value": 1}}, "backend.last_value", "got int"),
        ({"frontend": FRONT, "backend": {**BACK, "last_value": {"topic": 1}}}, "last_value.topic", "unknown key"),
        ({"frontend": FRONT, "backend": {**BACK, "last_value": {"topics": []}}}, "last_value.topics", "got []"),
        ({"frontend": FRONT, "backend": {**BACK, "last_value": {"topics": [1]}}}, "last_value.topics", "got [1]"),
        ({"frontend": FRONT, "backend": {**BACK, "last_value": {"max_topics": 0}}}, "max_topics", "from 1 to"),
        ({"frontend": FRONT, "backend": {**BACK, "last_value": {"max_bytes": "x"}}}, "max_bytes", "got 'x'"),
        ({"services": []}, "services", "expected an object, got list"),
        ({"services": {"echo": 1}}, "services.echo", "expected an object, got int"),
        ({"services": {"echo": {"front": 1}}}, "services.echo.front", "known are frontend, backends, timeout, queue"),
        ({"services": {"echo": ECHO | {"frontend": 1}}}, "services.echo.frontend", "expected an object, got int"),
        ({"services": {"echo": ECHO | {"backends": {}}}}, "services.echo.backends", "expected a list"),
        ({"services": {"echo": ECHO | {"backends": []}}}, "services.echo.backends", "got an empty list"),
        ({"services": {"echo": {"frontend": SERVES}}}, "services.echo.backends", "got nothing"),
        ({"services": {"echo": ECHO | {"backends": [1]}}}, "services.echo.backends[0]", "expected a dict"),
        ({"services": {"echo": ECHO | {"backends": [{}]}}}, "services.echo.backends[0].type", "got nothing"),
        ({"services": {"echo": ECHO | {"frontend": {"type": "memory"}}}}, "services.echo.frontend.type", "'memory'"),
        ({"services": {"echo": ECHO | {"timeout": 0}}}, "services.echo.timeout", "expected a number from 1 to"),
        ({"services": {"echo": ECHO | {"queue": "x"}}}, "services.echo.queue", "got 'x'"),
        ({"services": {"echo": ECHO | {"backends": [{"type": "zmq_tcp"}]}}}, "backends[0].echo", "got nothing"),
        ({"frontend": FRONT, "services": {"echo": ECHO}}, "backend", "expected an object, got nothing"),
        ({**INTERFACES, "config": []}, "config", "expected an object, got list"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, value: Any, where: str, problem: str) -> None:
    with pytest.raises(mb.InvalidConfig) as refused:
        Broker(settings(tmp_path, value, AppName="ZmqBroker", DEV_MODE="true"))
    assert refused.value.where.endswith(where)
    assert problem in refused.value.problem


@pytest.mark.once
def test_broker_and_all_that_it_starts_are_scheduled_as_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    side = {"type": "zmq_ipc", "socket_dir": "s"}
    paths = written(
        tmp_path,
        {
            "frontend": {**side, "": {"socket_file": "f"}},
            "backend": {**side, "": {"socket_file": "b"}},
            "sched_policy": "SCHED_BATCH",
        },
    )
    code = "import os, pathlib; from eis.msgbus.broker import *\nwith Broker(read(['0.json'])): "
    code += "print({os.sched_getscheduler(int(each.name)) for each in pathlib.Path('/proc/self/task').iterdir()})"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths[0].parent, capture_output=True, text=True, check=True)
    assert done.stdout == f"{{{os.SCHED_BATCH}}}\n"


@pytest.mark.parametrize("closed_by", ["this thread", "another"])
def test_thread_that_started_a_broker_is_scheduled_as_before_when_it_is_closed(tmp_path: Path, closed_by: str) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    side = {"type": "zmq_ipc", "socket_dir": str(tmp_path / "s")}
    sides = {name: side | {"": {"socket_file": name}} for name in ("frontend", "backend")}
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    broker = Broker(settings(tmp_path, sides, SCHED_POLICY="SCHED_BATCH"))
    assert os.sched_getscheduler(0) == os.SCHED_BATCH
    closing = threading.Thread(target=broker.close)
    if closed_by == "another":
        closing.start()
        closing.join(20)
    broker.close()
    assert (os.sched_getscheduler(0), os.sched_getparam(0)) == before


def test_it_is_told_when_the_system_does_not_schedule_so(tmp_path: Path) -> None:
    found = settings(tmp_path, FRONT, BACK, SCHED_POLICY="SCHED_FIFO", SCHED_PRIORITY="0")  # FIFO begins with 1
    with pytest.raises(mb.MessageBusError, match="cannot be scheduled as SCHED_FIFO with priority 0"):
        Broker(found)


def test_scheduling_is_refused_where_the_system_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(tmp_path, FRONT, BACK, SCHED_POLICY="SCHED_BATCH")
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(mb.InvalidConfig, match="sched_policy: can be set on Linux only"):
        Broker(found)
