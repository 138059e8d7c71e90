"""`msgbus doctor`: why nothing comes. Connects as the program would; sends no message and no request."""

import contextlib
import dataclasses
import json as json_text
import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from eis.msgbus import (
    InvalidConfig,
    MessageBusAuthenticationFailed,
    MsgbusContext,
    MsgbusException,
    ReceiveTimeout,
    Requester,
    Status,
    Subscriber,
)
from eis.msgbus.tools.check.source import Unusable, read
from eis.msgbus.tools.completion import names
from eis.msgbus.tools.stderr import printable, say

__all__ = ["ENDED", "EXAMPLES", "command"]

EXAMPLES = ("msgbus doctor bus.json camera1", "msgbus doctor bus.json reboot --service --timeout 3")

ENDED = "whoever is there ends the connection before its handshake is done"
"""What a status gives as reason where no publisher, or no service, listens, but something else."""

_REFUSALS = {
    "allowed_clients": ("refused-key", "add this client's public key to the server's list"),
    "server_public_key": ("wrong-server-key", "compare it with `msgbus keys show` of the server's secret"),
    "encrypt": ("wrong-mode", "give both sides keys, or none of them"),
    "has no right": ("no-permission", ""),
    "allowed_users": ("no-permission", "list this user at the publisher or service"),
}
"""By words of the bus, what a refusal is, and what helps beside what the bus says itself."""

_START = "start what publishes or serves there, or compare type, socket_dir and socket_file with its configuration"
_MOMENT = 1.5  # seconds to listen to other topics
_ENOUGH = 10  # other topics

_KINDS = {True: ("service", "publisher"), False: ("publisher", "service")}
"""What is looked for, and what it is not."""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Say what holds: `reason` is one word for programs, empty where all is well."""

    reason: str
    text: str
    advice: str = ""


_PLAIN = Diagnosis("wrong-mode", "this client encrypts, the server does not", "give both sides keys, or none of them")


def command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration of the side that connects.")],
    name: Annotated[
        str, typer.Argument(metavar="TOPIC", help="The topic; with --service, the service.", autocompletion=names)
    ],
    *,
    service: Annotated[bool, typer.Option("--service", help="TOPIC is a service; it gets no request.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Wait so long for a sign of life.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why nothing comes."""
    logging.getLogger("eis.msgbus").setLevel(logging.CRITICAL)  # what it warns of is said below
    try:
        source = read(config)
    except Unusable as error:
        say(str(error))
        raise typer.Exit(2) from None
    found = _diagnosis(config, source, name, service, timeout)
    if json:
        print(json_text.dumps(dataclasses.asdict(found)))
    else:
        print(printable(f"{found.text}: {found.advice}" if found.advice else found.text))
    raise typer.Exit(1 if found.reason else 0)


def _diagnosis(config: Path, source: Mapping[str, Any], name: str, service: bool, timeout: float) -> Diagnosis:
    if source.get("type") not in ("zmq_ipc", "zmq_tcp"):
        raise typer.BadParameter("expected one of type zmq_ipc or zmq_tcp", param_hint="CONFIG")
    if source["type"] == "zmq_ipc" and not Path(directory := str(source.get("socket_dir", "."))).exists():
        return Diagnosis("nothing-listens", f"there is no directory {directory}", _START)
    began = time.monotonic()
    looked = _look(config, name, service, timeout)
    if looked is None:
        what = "the service is there" if service else "a message came"
        return Diagnosis("", f"{what}, after {time.monotonic() - began:.1f} s")
    if looked.state == "denied":
        refused = _refused(looked.reason)
        in_doubt = refused.reason == "wrong-server-key"  # a server without keys breaks the handshake off as well
        return _PLAIN if in_doubt and _is_plain(source[name], name, service) else refused
    if looked.state == "connected":
        return _silent(_heard(config, source, name), name, timeout)
    if looked.reason == ENDED:
        return _other_kind(config, name, service)
    return _nobody(source, name)


def _look(config: Path | Mapping[str, Any], name: str, service: bool, timeout: float) -> Status | None:
    """Return None if all is well, else what the connection did in the end."""
    with MsgbusContext(config) as bus:
        if service:
            return _look_at_service(bus.get_service(name), timeout)
        return _look_at_topic(bus.new_subscriber(name), timeout)


def _look_at_topic(subscriber: Subscriber[Any], timeout: float) -> Status | None:
    try:
        subscriber.recv(timeout=timeout * 1000)
    except MessageBusAuthenticationFailed as error:
        return Status("", "denied", str(error))
    except ReceiveTimeout:
        return subscriber.status
    return None


def _look_at_service(requester: Requester, timeout: float) -> Status | None:
    decided = threading.Event()

    def take(status: Status) -> None:
        if status.state in ("connected", "denied"):
            decided.set()

    requester.on_event(take)
    take(requester.status)
    decided.wait(timeout)
    return None if requester.status.state == "connected" else requester.status


def _silent(others: Sequence[str], name: str, timeout: float) -> Diagnosis:
    text = f"connected to the publisher, and nothing of {name!r} came within {timeout:g} s"
    if others:
        return Diagnosis("not-published", text, f"published there just now: {', '.join(map(repr, others))}")
    advice = "nobody publishes anything there just now that this client may read"
    return Diagnosis("not-published", text, advice)


def _heard(config: Path, source: Mapping[str, Any], name: str) -> list[str]:
    """Listen for a moment to everything that comes from there, and return the topics."""
    entry = source.get(name) or source.get("", {})
    heard: dict[str, None] = {}
    with MsgbusContext(_beside(config, {**source, "": {"socket_file": name, **entry}})) as bus:
        subscriber = bus.new_subscriber("")
        end = time.monotonic() + _MOMENT
        with contextlib.suppress(MsgbusException):
            while len(heard) < _ENOUGH and (left := end - time.monotonic()) > 0:
                heard[subscriber.recv(timeout=left * 1000).name or ""] = None
    return sorted(heard)


def _beside(config: Path, value: Any) -> Any:
    """Return a configuration whose key files are those beside its file."""
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"file"}:
        return {"file": str(config.parent / value["file"])}
    return {key: _beside(config, each) for key, each in value.items()}


def _refused(reason: str) -> Diagnosis:
    for words, (kind, advice) in _REFUSALS.items():
        if words in reason:
            return Diagnosis(kind, reason, advice)
    return Diagnosis("refused", reason)


def _is_plain(entry: Mapping[str, Any], name: str, service: bool) -> bool:
    """Tell whether the server takes a client without keys."""
    try:
        looked = _look({"type": "zmq_tcp", name: {key: entry[key] for key in ("host", "port")}}, name, service, 2)
    except InvalidConfig:  # MSGBUS_REQUIRE_ENCRYPTION
        return False
    return looked is None or looked.state == "connected"


def _other_kind(config: Path, name: str, service: bool) -> Diagnosis:
    """Look whether what listens is of the other kind, by connecting as its client would."""
    wanted, other = _KINDS[service]
    looked = _look(config, name, not service, 2)
    if looked is None or looked.state in ("connected", "denied"):
        return Diagnosis("wrong-mode", f"a {other} listens there, and no {wanted}", "use the address of the other")
    text = "something listens there that ends each connection, and is not the bus"
    return Diagnosis("wrong-mode", text, f"compare host and port with those of the {wanted}")


def _nobody(source: Mapping[str, Any], name: str) -> Diagnosis:
    if source["type"] == "zmq_ipc":
        return _no_socket_file(source, name)
    entry = source.get(name, {})
    host, port = entry.get("host"), entry.get("port")
    try:
        with socket.create_connection((host, port), 2):
            problem = "something listens there, and is not the bus: it says nothing"
    except OSError as error:
        problem = error.strerror or str(error)
    advice = "start what publishes or serves there, or compare host and port with its configuration"
    return Diagnosis("nothing-listens", f"nothing of the bus listens at {host}:{port} ({problem})", advice)


def _no_socket_file(source: Mapping[str, Any], name: str) -> Diagnosis:
    directory = source["socket_dir"]
    file = source.get(name, {}).get("socket_file") or source.get("", {}).get("socket_file") or name
    path = Path(directory) / file
    if path.exists():
        return Diagnosis("nothing-listens", f"{path} is there, and nobody listens at it", "start what published there")
    there = sorted(each.name for each in Path(directory).iterdir() if not each.name.startswith("."))
    return Diagnosis(
        "nothing-listens",
        f"there is no socket file {path}",
        f"{_START}; here are {', '.join(there) or 'no others'}",
    )
