"""Every rule by which the original's configuration manager turns an entry into a configuration, as a table."""

from typing import Any

import pytest

from eis.msgbus import InvalidConfig, keys
from eis.msgbus._config import Config
from eis.msgbus.interfaces import Application, Keys, from_environment

ME, PEER, BROKER = (keys.new_key_pair() for _ in range(3))
KNOWN = Keys({"Me": ME.public, "Peer": PEER.public, "ZmqBroker": BROKER.public}, ME.secret)
KINDS = {
    "Publishers": "publisher",
    "Subscribers": "subscriber",
    "Servers": "server",
    "Clients": "client",
}
TCP = {"Name": "x", "Type": "zmq_tcp", "EndPoint": " h : 5 "}
ADDRESS = {"host": "h", "port": 5}
SECRET = {"server_secret_key": ME.secret}
CLIENT = {"client_public_key": ME.public, "client_secret_key": ME.secret}
OF_PEER = {"server_public_key": PEER.public} | CLIENT
OF_BROKER = {"server_public_key": BROKER.public} | CLIENT
TOPICS = {"Topics": ["a", "b"]}
EVERYTHING = {"Topics": ["*"]}
PEER_ALONE = {"AllowedClients": ["Peer"]}
PLAIN = {"type": "zmq_tcp", "allowed_clients": [PEER.public]}
EVERYBODY = [ME.public, PEER.public, BROKER.public]


def config_of(kind: str, entry: dict[str, Any], mode: str = "false", **environment: str) -> dict[str, Any]:
    app = Application({kind: [entry]}, "Me", KNOWN, {"DEV_MODE": mode} | environment)
    config: dict[str, Any] = getattr(app, KINDS[kind])("x").config
    Config(config)  # the bus takes it
    return config


@pytest.mark.parametrize("mode", ["true", "True", "TRUE"])
@pytest.mark.parametrize(
    ("kind", "entry", "expected"),
    [
        ("Publishers", TOPICS, {"zmq_tcp_publish": ADDRESS}),
        ("Publishers", TOPICS | {"brokered": True}, {"zmq_tcp_publish": ADDRESS | {"brokered": True}}),
        ("Publishers", TOPICS | {"brokered": False}, {"zmq_tcp_publish": ADDRESS | {"brokered": False}}),
        ("Publishers", TOPICS | {"AllowedClients": ["*"]}, {"zmq_tcp_publish": ADDRESS}),
        ("Publishers", TOPICS | {"BrokerAppName": "ZmqBroker"}, {"zmq_tcp_publish": ADDRESS}),
        ("Subscribers", TOPICS | {"PublisherAppName": "Peer"}, {"a": ADDRESS, "b": ADDRESS}),
        ("Subscribers", EVERYTHING | {"PublisherAppName": "Peer"}, {"": ADDRESS}),
        ("Servers", {}, {"x": ADDRESS}),
        ("Clients", {"ServerAppName": "Peer"}, {"x": ADDRESS}),
        ("Clients", {"zmq_recv_hwm": 7}, {"x": ADDRESS, "zmq_recv_hwm": 7}),
    ],
)
def test_tcp_has_no_keys_in_development(mode: str, kind: str, entry: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config_of(kind, TCP | entry, mode) == {"type": "zmq_tcp"} | expected


@pytest.mark.parametrize("mode", ["false", "FALSE", "yes", "1"])
@pytest.mark.parametrize(
    ("kind", "entry", "expected"),
    [
        ("Publishers", TOPICS | PEER_ALONE, PLAIN | {"zmq_tcp_publish": ADDRESS | SECRET}),
        (
            "Publishers",
            TOPICS | PEER_ALONE | {"brokered": True},
            PLAIN | {"zmq_tcp_publish": ADDRESS | {"brokered": True} | SECRET},
        ),
        (
            "Publishers",
            TOPICS | PEER_ALONE | {"brokered": True, "BrokerAppName": "ZmqBroker"},
            {"type": "zmq_tcp", "zmq_tcp_publish": ADDRESS | {"brokered": True} | OF_BROKER},
        ),
        (
            "Publishers",
            TOPICS | {"AllowedClients": ["*"]},
            {"type": "zmq_tcp", "allowed_clients": EVERYBODY, "zmq_tcp_publish": ADDRESS | SECRET},
        ),
        (
            "Subscribers",
            TOPICS | {"PublisherAppName": "Peer"},
            {"type": "zmq_tcp", "a": ADDRESS | OF_PEER, "b": ADDRESS | OF_PEER},
        ),
        (
            "Subscribers",
            EVERYTHING | {"PublisherAppName": "ZmqBroker"},
            {"type": "zmq_tcp", "": ADDRESS | OF_BROKER},
        ),
        ("Subscribers", EVERYTHING | PEER_ALONE | {"PublisherAppName": "*"}, PLAIN | {"": ADDRESS | SECRET}),
        ("Servers", PEER_ALONE, PLAIN | {"x": ADDRESS | SECRET}),
        ("Clients", {"ServerAppName": "Peer"}, {"type": "zmq_tcp", "x": ADDRESS | OF_PEER}),
    ],
)
def test_tcp_has_keys_in_production(mode: str, kind: str, entry: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config_of(kind, TCP | entry, mode) == expected


FILE = {"socket_file": "file"}
BROKERED = FILE | {"brokered": True}


@pytest.mark.parametrize("mode", ["true", "false"])
@pytest.mark.parametrize("file", ["/dir, file", {"SocketDir": "/dir", "SocketFile": "file"}])
@pytest.mark.parametrize(
    ("kind", "entry", "expected"),
    [
        ("Publishers", TOPICS, {"a": FILE, "b": FILE, "": FILE}),
        ("Publishers", TOPICS | {"brokered": True}, {"a": BROKERED, "b": BROKERED, "": BROKERED}),
        ("Publishers", EVERYTHING, {"": FILE}),
        ("Subscribers", TOPICS | {"PublisherAppName": "nobody"}, {"a": FILE, "b": FILE, "": FILE}),
        ("Subscribers", EVERYTHING, {"": FILE}),
        ("Servers", {"AllowedClients": ["nobody"]}, {"x": FILE}),
        ("Clients", {"ServerAppName": "nobody"}, {"x": FILE}),
    ],
)
def test_ipc_with_a_file_has_never_keys(
    mode: str, file: Any, kind: str, entry: dict[str, Any], expected: dict[str, Any]
) -> None:
    ipc = {"Name": "x", "Type": "zmq_ipc", "EndPoint": file}
    assert config_of(kind, ipc | entry, mode) == {"type": "zmq_ipc", "socket_dir": "/dir"} | expected


@pytest.mark.parametrize("mode", ["true", "false"])
@pytest.mark.parametrize("endpoint", ["/dir", {"SocketDir": "/dir"}, {"SocketDir": "/dir", "SocketFile": "*"}])
@pytest.mark.parametrize(
    ("kind", "entry"),
    [("Publishers", TOPICS | {"brokered": True}), ("Subscribers", TOPICS), ("Servers", {}), ("Clients", {})],
)
def test_ipc_without_a_file_is_its_directory(mode: str, endpoint: Any, kind: str, entry: dict[str, Any]) -> None:
    ipc = {"Name": "x", "Type": "zmq_ipc", "EndPoint": endpoint}
    assert config_of(kind, ipc | entry, mode) == {"type": "zmq_ipc", "socket_dir": "/dir"}


@pytest.mark.parametrize("entry", [{}, {"AllowedClients": []}, {"brokered": True}])
def test_whoever_listens_in_production_needs_a_list_of_clients(entry: dict[str, Any]) -> None:
    for kind, written in (("Publishers", TOPICS), ("Servers", {}), ("Subscribers", TOPICS | {"PublisherAppName": "*"})):
        with pytest.raises(InvalidConfig) as caught:
            config_of(kind, TCP | written | entry)
        assert caught.value.where == f"{kind}[0].AllowedClients"


@pytest.mark.parametrize("kind", KINDS)
def test_environment_overrides_endpoint_and_type_of_every_kind(kind: str) -> None:
    entry, variable = TCP | TOPICS, KINDS[kind].upper()
    far = "a-host-with-a-name-that-is-longer-than-forty-characters.svc:9"
    of_one = config_of(kind, entry, "true", **{f"{variable}_x_ENDPOINT": far, f"{variable}_ENDPOINT": ""})
    assert {value["port"] for value in of_one.values() if isinstance(value, dict)} == {9}
    of_all = {f"{variable}_x_TYPE": "zmq_tcp", f"{variable}_TYPE": "zmq_ipc", f"{variable}_ENDPOINT": "/dir"}
    assert config_of(kind, entry, "true", **of_all) == {"type": "zmq_ipc", "socket_dir": "/dir"}


def test_other_topics_make_another_configuration_and_leave_the_entry_as_it_was() -> None:
    entry = TCP | TOPICS
    one = Application({"Subscribers": [entry]}, "Me", environment={"DEV_MODE": "true"}).subscriber("x")
    other = one.with_topics(["c"])
    assert (one.topics, other.topics, entry["Topics"]) == (["a", "b"], ["c"], ["a", "b"])
    assert (set(one.config), set(other.config)) == ({"type", "a", "b"}, {"type", "c"})


def test_application_without_a_secret_can_do_without_on_ipc_only() -> None:
    publishers = [TCP | TOPICS | PEER_ALONE, {"Name": "y", "Type": "zmq_ipc", "EndPoint": "/dir"} | TOPICS]
    app = Application({"Publishers": publishers}, "Me", Keys(KNOWN.public, ""), {"DEV_MODE": "false"})
    assert app.publisher("y").config == {"type": "zmq_ipc", "socket_dir": "/dir"}
    with pytest.raises(InvalidConfig, match=r"Publishers\[0\]: expected Me/private_key among the keys"):
        _ = app.publisher("x").config


def test_server_of_eis_2_has_the_name_of_its_application() -> None:
    environment = {"Server": "zmq_tcp, 127.0.0.1:66", "AppName": "Me", "Clients": "Peer", "DEV_MODE": "false"}
    app = Application(from_environment(environment), None, KNOWN, environment)
    assert app.server("Me").config == PLAIN | {"Me": {"host": "127.0.0.1", "port": 66} | SECRET}
    with pytest.raises(InvalidConfig, match="config AppName: expected the environment variable to be set"):
        from_environment({"Server": "zmq_tcp, 127.0.0.1:66"})
