"""`msgbus schema`: the JSON Schema of a configuration, for editors and for tools in other languages. Reads nothing."""

import json
from typing import Annotated, Any

import typer

__all__ = ["ENTRY", "EXAMPLES", "FIXED", "MEMORY", "broker_schema", "command", "schema"]

EXAMPLES = ("msgbus schema > msgbus.schema.json", "msgbus schema --broker > broker.schema.json")

Schema = dict[str, Any]


def command(
    *, broker: Annotated[bool, typer.Option("--broker", help="That of the file of `msgbus broker`.")] = False
) -> None:
    """Print the schema."""
    print(json.dumps(broker_schema() if broker else schema(), indent=2))


def schema() -> Schema:
    """Return the schema. A configuration that it refuses is refused by the bus; the bus looks at more than it can."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of eis.msgbus",
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"type": "string", "description": "zmq_ipc, zmq_tcp, memory, or an installed transport"}
        },
        "allOf": [
            _of_type("zmq_ipc", _zmq(["type", "socket_dir"])),
            _of_type("zmq_tcp", _zmq(["type"])),
            _of_type("memory", {"properties": {"type": {}, "hub": {"type": "string"}}, "additionalProperties": False}),
        ],
        "$defs": {"key": _KEY, "entry": _object(ENTRY)},
    }


def broker_schema() -> Schema:
    """Return the schema of a broker's file, which has the configurations of its two sides, of services, or both."""
    services = {"type": "object", "additionalProperties": {"$ref": "#/$defs/service"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of msgbus broker",
        **_object({"frontend": _side({}), "backend": _side(_BACKEND), "services": services} | _SCHEDULING),
        "anyOf": [{"required": ["frontend", "backend"]}, {"required": ["services"]}],
        "dependentRequired": {"frontend": ["backend"], "backend": ["frontend"]},
        "$defs": {"key": _KEY, "entry": _object(ENTRY), "bus": _side({}), "service": _service()},
    }


def _service() -> Schema:
    bus = {"$ref": "#/$defs/bus"}
    properties = {
        "frontend": bus | {"description": "where the broker serves"},
        "backends": _list("how a requester reaches each of the services", bus) | {"minItems": 1},
        "timeout": _number("milliseconds that a request may wait for a service, and for its answer", 1, 2**31 - 1),
        "queue": _number("requests that may wait for a service", 1, 2**31 - 1),
    }
    return _object(properties) | {"required": ["frontend", "backends"]}


def _side(more: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": ["zmq_ipc", "zmq_tcp"]}},
        "allOf": [
            _of_type("zmq_ipc", _zmq(["type", "socket_dir"], more)),
            _of_type("zmq_tcp", _zmq(["type"], more)),
        ],
    }


def _of_type(name: str, then: Schema) -> Schema:
    return {"if": {"properties": {"type": {"const": name}}}, "then": then}


def _zmq(required: list[str], more: Schema | None = None) -> Schema:
    known = FIXED | (more or {})
    own = "|".join(f"{name.removeprefix('zmq_')}$" for name in known if name.startswith("zmq_"))
    return {
        "required": required,
        "properties": known,
        "propertyNames": {"pattern": f"^(?!@)(?!zmq_(?!{own}))"},
        "additionalProperties": {"$ref": "#/$defs/entry"},
    }


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _number(description: str, least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "description": description}


def _switch(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _list(description: str, of: Schema) -> Schema:
    return {"type": "array", "items": of, "description": description}


def _reference(name: str, description: str) -> Schema:
    return {
        "type": "object",
        "properties": {name: _text(description)},
        "required": [name],
        "additionalProperties": False,
    }


_KEY: Schema = {
    "description": "A key of CURVE",
    "anyOf": [
        _text("Z85 text", pattern=r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$"),
        _reference("file", "file that holds it"),
        _reference("env", "environment variable that holds it"),
    ],
}
_A_KEY: Schema = {"$ref": "#/$defs/key"}
_CLIENT: Schema = {"anyOf": [{"type": "string"}, _A_KEY]}  # a name or a key
_ID: Schema = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 2**32 - 2}]}

ENTRY: Schema = {
    "host": _text("zmq_tcp: where to connect, or to listen; 0.0.0.0 or * is every IPv4 address", minLength=1),
    "port": _number("zmq_tcp", 1, 65535),
    "server_public_key": {"anyOf": [_A_KEY, _list("tried in turn", _A_KEY) | {"minItems": 1}]},
    "client_public_key": _A_KEY,
    "client_secret_key": _A_KEY,
    "server_secret_key": _A_KEY,
    "socket_file": _text("zmq_ipc: name of the socket file in socket_dir", pattern=r"^(?!@|\.$|\.\.$)[^/\\]+$"),
    "brokered": _switch("publishers: connect to a broker instead of listening"),
    "allowed_clients": _list("zmq_tcp: the clients that get in here", _CLIENT),
    "topics": {
        "type": "object",
        "additionalProperties": _list("clients that may read the topics that begin so", _CLIENT),
        "description": "in zmq_tcp_publish: who may read which topics; at the frontend of a broker: publish",
    },
    "allowed_users": _list("zmq_ipc: users whose programs get in", _ID),
    "allowed_groups": _list("zmq_ipc: groups whose programs get in", _ID),
}
MEMORY: Schema = {
    "slots": _number("frames that a publisher keeps there", 2, 500),
    "max_bytes": _number("bytes that a publisher takes for all of them", 1, 2**62),
}
FIXED: Schema = {
    "type": {"type": "string"},
    "socket_dir": _text("zmq_ipc: directory of the socket files", pattern="^[^@]"),
    "zmq_tcp_publish": {"$ref": "#/$defs/entry", "description": "zmq_tcp: where all publishers listen"},
    "allowed_clients": _list("zmq_tcp: the clients that publishers and services let in", _CLIENT),
    "zmq_recv_hwm": _number("messages that may wait in a subscriber; 0: no limit", 0, 2**31 - 1),
    "zmq_connect_retries": _number("failed connects before the connection is made anew; 0: never", 0, 2**31 - 1),
    "clients": {"type": "object", "additionalProperties": _A_KEY, "description": "zmq_tcp: names of clients"},
    "require_encryption": _switch("zmq_tcp: an endpoint without keys is an error"),
    "queue_bytes": _number("bytes that may wait for one subscriber, on each side", 1, 2**62),
    "max_message_bytes": _number("the largest metadata or blob", 1, 2**62),
    "stalled_after": _number("milliseconds without a message until a subscriber is stalled", 1, 2**31 - 1),
    "socket_group": _ID | {"description": "zmq_ipc: group of the socket files"},
    "shared_directory": _switch("zmq_ipc: several users publish in the directory"),
    "allow_open_directory": _switch("zmq_ipc: take a directory in which others could replace socket files"),
    "native": _switch("false: only the original's frames, no streams of this library"),
    "shared_memory": {"anyOf": [_switch("false: none"), _object(MEMORY)], "description": "zmq_ipc: where frames are"},
}
_LAST_VALUE: Schema = {
    "topics": _list("beginnings of the topics of which it is kept", {"type": "string"}) | {"minItems": 1},
    "max_topics": _number("topics of which it is kept", 1, 10**6),
    "max_bytes": _number("bytes of all that is kept", 1, 2**62),
}
_BACKEND: Schema = {
    "zmq_send_hwm": _number("messages that may wait for one subscriber; 0: no limit", 0, 2**31 - 1),
    "zmq_xpub_nodrop": {"enum": [True, False, 0, 1], "description": "true: wait for the slowest subscriber"},
    "last_value": {
        "anyOf": [_switch("true: of every topic"), _object(_LAST_VALUE)],
        "description": "the last message of each topic is given to who comes late",
    },
}
_SCHEDULING: Schema = {
    "sched_policy": {"enum": ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_IDLE"]},
    "sched_priority": _number("for SCHED_FIFO and SCHED_RR: 1 or more", 0, 99),
}
