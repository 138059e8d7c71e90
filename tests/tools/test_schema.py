"""The schema, held against the room that reads configurations."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus._config.entries import Entry, Fixed, Memory
from eis.msgbus.broker import read
from eis.msgbus.tools.schema import ENTRY, FIXED, MEMORY, broker_schema, schema
from tests.tools.process import msgbus

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "examples" / "configs").iterdir())
KEY = keys.new_key_pair().public
IPC = {"type": "zmq_ipc", "socket_dir": "sockets"}
TCP = {"type": "zmq_tcp"}
AT = {"host": "127.0.0.1", "port": 3000}

WRONG: dict[str, dict[str, Any]] = {
    "no type": {"socket_dir": "sockets"},
    "an unknown key": TCP | {"zmq_tcp_publsh": AT},
    "an unknown key of an entry": TCP | {"camera1": AT | {"hots": "x"}},
    "a port as text": TCP | {"camera1": AT | {"port": "3000"}},
    "a port out of range": TCP | {"camera1": AT | {"port": 65536}},
    "a number in place of an entry": TCP | {"camera1": 1},
    "a short key": TCP | {"camera1": AT | {"server_secret_key": "abc"}},
    "a reference of two kinds": TCP | {"camera1": AT | {"server_secret_key": {"file": "a", "env": "b"}}},
    "no keys in a list": TCP | {"camera1": AT | {"server_public_key": []}},
    "a path as socket file": IPC | {"camera1": {"socket_file": "../x"}},
    "a name that begins with @": IPC | {"@camera1": {"socket_file": "x"}},
    "an empty directory": IPC | {"socket_dir": ""},
    "a negative queue": IPC | {"zmq_recv_hwm": -1},
    "no bytes in a queue": IPC | {"queue_bytes": 0},
    "a word for a switch": IPC | {"shared_directory": "yes"},
    "one slot of memory": IPC | {"shared_memory": {"slots": 1}},
    "an unknown key of memory": IPC | {"shared_memory": {"slot": 2}},
    "a number for a client": TCP | {"allowed_clients": [1]},
    "a strange key of memory": {"type": "memory", "socket_dir": "x"},
}
RIGHT: dict[str, dict[str, Any]] = {
    "names, lists and topics": TCP
    | {
        "clients": {"wall": KEY},
        "allowed_clients": ["wall", KEY],
        "zmq_tcp_publish": AT | {"server_secret_key": keys.new_key_pair().secret, "topics": {"camera": ["wall"]}},
    },
    "users": IPC | {"camera1": {"allowed_users": ["root", 0], "allowed_groups": []}, "socket_group": 0},
    "an entry for every name": IPC | {"": {"socket_file": "all"}, "queue_bytes": 1000},
    "shared memory": IPC | {"shared_memory": {"slots": 4, "max_bytes": 10**8}, "native": True},
    "a hub": {"type": "memory", "hub": "x"},
}


def accepted(config: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema()).is_valid(config))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_printed_schema_is_the_one_of_the_reference(tmp_path: Path) -> None:
    status, out, err = msgbus(tmp_path, "schema")
    assert (status, err) == (0, "")
    assert out == (ROOT / "docs" / "reference" / "configuration.schema.json").read_text()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_an_example_is_accepted(path: Path) -> None:
    assert accepted(json.loads(path.read_text()))


@pytest.mark.parametrize("config", RIGHT.values(), ids=RIGHT)
def test_what_the_bus_takes_is_accepted(config: dict[str, Any]) -> None:
    mb.MsgbusContext(config).close()
    assert accepted(config)


@pytest.mark.parametrize("config", WRONG.values(), ids=WRONG)
def test_what_the_bus_refuses_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(mb.InvalidConfig):
        mb.MsgbusContext(config)
    assert not accepted(config)


@pytest.mark.parametrize(
    ("described", "struct"), [(ENTRY, Entry), (FIXED, Fixed), (MEMORY, Memory)], ids=["entry", "fixed", "memory"]
)
def test_every_key_has_the_type_and_limits_that_the_bus_reads(described: dict[str, Any], struct: type) -> None:
    read = msgspec.json.schema_components([struct])[1][struct.__name__]["properties"]
    assert set(described) == set(read)
    for key, value in described.items():
        of_bus: dict[str, Any] = next(
            (each for each in read[key].get("anyOf", [read[key]]) if each.get("type") != "null"), {}
        )
        for what in ("minimum", "maximum"):
            assert value.get(what) == (of_bus.get(what) if value.get("type") == "integer" else None), key
        if value.get("type") in ("integer", "boolean", "array"):
            assert value["type"] == of_bus["type"], key


def test_the_printed_schema_of_a_broker_is_the_one_of_the_reference(tmp_path: Path) -> None:
    status, out, err = msgbus(tmp_path, "schema", "--broker")
    assert (status, err) == (0, "")
    assert out == (ROOT / "docs" / "reference" / "broker.schema.json").read_text()


SIDES: dict[str, Any] = {
    "frontend": IPC | {"": {"socket_file": "f"}},
    "backend": TCP | {"zmq_tcp_publish": AT, "zmq_send_hwm": 4, "zmq_xpub_nodrop": 1},
}
LAST = TCP | {"zmq_tcp_publish": AT}
ECHO: dict[str, Any] = {"frontend": IPC, "backends": [TCP | {"echo": AT}]}


def test_the_schema_of_a_broker_takes_services_alone_and_no_side_alone() -> None:
    validator = jsonschema.Draft202012Validator(broker_schema())
    assert validator.is_valid({"services": {"echo": ECHO}})
    assert not validator.is_valid({"services": {"echo": ECHO}, "frontend": SIDES["frontend"]})
    assert not validator.is_valid({"sched_priority": 1})


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({}, ""),
        ({"sched_policy": "SCHED_RR", "sched_priority": 3}, ""),
        ({"sched_policy": "RR"}, "sched_policy"),
        ({"sched_priority": 100}, "sched_priority"),
        ({"stats": True}, "stats"),
        ({"backend": TCP | {"zmq_send_hwm": -1}}, "backend.zmq_send_hwm"),
        ({"backend": TCP | {"zmq_xpub_nodrop": "yes"}}, "backend.zmq_xpub_nodrop"),
        ({"frontend": {"type": "memory"}}, "frontend.type"),
        ({"backend": LAST | {"last_value": True}}, ""),
        ({"backend": LAST | {"last_value": {"topics": ["a"], "max_topics": 1, "max_bytes": 1}}}, ""),
        ({"backend": LAST | {"last_value": "yes"}}, "backend.last_value"),
        ({"backend": LAST | {"last_value": {"topics": "a"}}}, "backend.last_value.topics"),
        ({"services": {"echo": ECHO}}, ""),
        ({"services": {"echo": ECHO | {"timeout": 1, "queue": 1}}}, ""),
        ({"services": {"echo": ECHO | {"queue": 0}}}, "services.echo.queue"),
        ({"services": {"echo": ECHO | {"que": 1}}}, "services.echo.que"),
        ({"services": {"echo": ECHO | {"backends": []}}}, "services.echo.backends"),
        ({"services": {"echo": ECHO | {"backends": [{"type": "memory"}]}}}, "services.echo.backends[0].type"),
    ],
)
def test_the_schema_of_a_broker_refuses_what_the_broker_refuses(
    tmp_path: Path, wrong: dict[str, Any], where: str
) -> None:
    validator = jsonschema.Draft202012Validator(broker_schema())
    validator.check_schema(broker_schema())
    (tmp_path / "broker.json").write_text(json.dumps(SIDES | wrong))
    if not where:
        read([tmp_path / "broker.json"], environment={})
        validator.validate(SIDES | wrong)
        return
    assert not validator.is_valid(SIDES | wrong)
    with pytest.raises(mb.InvalidConfig) as refused:
        read([tmp_path / "broker.json"], environment={})
    assert refused.value.where == where


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "brokers").iterdir()), ids=lambda path: path.name)
def test_an_example_of_a_broker_is_accepted(path: Path) -> None:
    jsonschema.Draft202012Validator(broker_schema()).validate(json.loads(path.read_text()))
