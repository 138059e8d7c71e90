"""The variables by which EIS 2.x describes an application. Does not know what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from eis.msgbus.exceptions import InvalidConfig
from eis.msgbus.interfaces.entry import TYPES

__all__ = ["from_environment"]


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the interfaces that the variables of EIS 2.x describe.

    `PubTopics`, `SubTopics` (`APP/TOPIC`) and `RequestEP` hold names, separated by commas; `NAME_cfg` says where each
    is (`zmq_tcp,127.0.0.1:65013` or `zmq_ipc,DIRECTORY[,FILE]`), `Clients` who is let in. `Server` says where the
    service is that has the application's name, or holds names as the others do.

    Raises:
        InvalidConfig: a name has no `NAME_cfg`, or a wrong one.
    """
    common: dict[str, Any] = {"AllowedClients": _names(environment, "Clients")}
    if queue := environment.get("ZMQ_RECV_HWM"):
        if not queue.isdecimal():
            raise InvalidConfig(f"expected a number, got {queue!r}", "ZMQ_RECV_HWM")
        common["zmq_recv_hwm"] = int(queue)
    subscribed = [_publisher_and_topic(name) for name in _names(environment, "SubTopics")]
    return {
        "Publishers": [
            _described(environment, name) | {"Topics": [name]} | common for name in _names(environment, "PubTopics")
        ],
        "Subscribers": [
            _described(environment, topic) | {"Topics": [topic], "PublisherAppName": app} | common
            for app, topic in subscribed
        ],
        "Servers": [entry | common for entry in _servers(environment)],
        "Clients": [
            _described(environment, name) | {"ServerAppName": name} | common
            for name in _names(environment, "RequestEP")
        ],
    }


def _publisher_and_topic(text: str) -> tuple[str, str]:
    app, slash, topic = text.partition("/")
    if not (app and slash and topic):
        raise InvalidConfig(f"expected APP/TOPIC, got {text!r}", "SubTopics")
    return app, topic


def _servers(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    names = _names(environment, "Server")
    if not names or names[0] not in TYPES:
        return [_described(environment, name) for name in names]
    if not (name := environment.get("AppName")):
        raise InvalidConfig("expected the environment variable to be set: it names the Server", "AppName")
    return [_described(environment, name, "Server")]


def _described(environment: Mapping[str, str], name: str, where: str = "") -> dict[str, Any]:
    where = where or f"{name}_cfg"
    kind, comma, endpoint = environment.get(where, "").partition(",")
    if not comma:
        raise InvalidConfig(f"expected zmq_tcp,HOST:PORT or zmq_ipc,DIRECTORY, got {environment.get(where)!r}", where)
    return {"Name": name, "Type": kind.strip(), "EndPoint": endpoint.strip()}


def _names(environment: Mapping[str, str], variable: str) -> list[str]:
    return [name.strip() for name in environment.get(variable, "").split(",") if name.strip()]
