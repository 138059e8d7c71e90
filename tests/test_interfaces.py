"""An application's interfaces, to configurations: by the examples of the original's documentation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eis.msgbus import InvalidConfig, MsgbusContext, keys
from eis.msgbus._config import Config
from eis.msgbus.interfaces import Application, Keys, from_environment, read_keys

APPS = (
    "VideoIngestion",
    "VideoAnalytics",
    "WebVisualizer",
    "ZmqBroker",
    "EmbPublisher",
    "ImageStore",
    "RestDataExport",
)
PAIRS = {app: keys.new_key_pair() for app in APPS}
PUBLIC = {app: pair.public for app, pair in PAIRS.items()}
ALL = list(PUBLIC.values())
DEV = {"DEV_MODE": "True"}
PROD = {"DEV_MODE": "false"}


def app(name: str, interfaces: Mapping[str, Any], **environment: str) -> Application:
    """Return the application in production."""
    return Application(interfaces, name, Keys(PUBLIC, PAIRS[name].secret), PROD | environment)


def dev(interfaces: Mapping[str, Any], **environment: str) -> Application:
    return Application(interfaces, "VideoAnalytics", environment=DEV | environment)


def client_keys(name: str, server: str) -> dict[str, str]:
    return {
        "server_public_key": PUBLIC[server],
        "client_public_key": PUBLIC[name],
        "client_secret_key": PAIRS[name].secret,
    }


INGESTION: dict[str, Any] = {
    "Servers": [{"Name": "default", "Type": "zmq_tcp", "EndPoint": "0.0.0.0:64013", "AllowedClients": ["*"]}],
    "Publishers": [
        {
            "Name": "default",
            "Type": "zmq_ipc",
            "EndPoint": "/EII/sockets",
            "Topics": ["camera1_stream"],
            "AllowedClients": ["VideoAnalytics", "Visualizer"],
        }
    ],
}
ANALYTICS: dict[str, Any] = {
    "Subscribers": [
        {
            "Name": "default",
            "Type": "zmq_ipc",
            "EndPoint": "/EII/sockets",
            "PublisherAppName": "VideoIngestion",
            "Topics": ["camera1_stream"],
            "zmq_recv_hwm": 50,
        }
    ],
    "Publishers": [
        {
            "Name": "default",
            "Type": "zmq_tcp",
            "EndPoint": "0.0.0.0:65013",
            "Topics": ["camera1_stream_results"],
            "AllowedClients": ["*"],
        }
    ],
}
VISUALIZER: dict[str, Any] = {
    "Subscribers": [
        {
            "Name": "default",
            "Type": "zmq_tcp",
            "EndPoint": "ia_video_analytics:65013",
            "PublisherAppName": "VideoAnalytics",
            "Topics": ["camera1_stream_results"],
        }
    ]
}
BROKERED: dict[str, Any] = {
    "Name": "TestPub",
    "Type": "zmq_tcp",
    "AllowedClients": ["*"],
    "EndPoint": "ia_zmq_broker:60514",
    "Topics": ["topic-pfx1", "topic-pfx2"],
    "BrokerAppName": "ZmqBroker",
    "brokered": True,
}
FRONTEND: dict[str, Any] = {
    "Name": "frontend",
    "Type": "zmq_tcp",
    "EndPoint": "0.0.0.0:60514",
    "PublisherAppName": "*",
    "Topics": ["*"],
    "AllowedClients": ["*"],
}


def test_ipc_publisher_needs_no_more_than_its_directory() -> None:
    assert app("VideoIngestion", INGESTION).publisher("default").config == {
        "type": "zmq_ipc",
        "socket_dir": "/EII/sockets",
    }


def test_server_lets_every_application_in_when_its_list_is_a_star() -> None:
    assert app("VideoIngestion", INGESTION).server(0).config == {
        "type": "zmq_tcp",
        "default": {"host": "0.0.0.0", "port": 64013, "server_secret_key": PAIRS["VideoIngestion"].secret},
        "allowed_clients": ALL,
    }


def test_receive_queue_stands_at_the_top() -> None:
    config = app("VideoAnalytics", ANALYTICS).subscriber().config
    assert config == {"type": "zmq_ipc", "zmq_recv_hwm": 50, "socket_dir": "/EII/sockets"}


def test_tcp_publisher_has_keys_in_production_only() -> None:
    plain = {"host": "0.0.0.0", "port": 65013}
    assert dev(ANALYTICS).publisher().config == {"type": "zmq_tcp", "zmq_tcp_publish": plain}
    assert app("VideoAnalytics", ANALYTICS).publisher().config == {
        "type": "zmq_tcp",
        "allowed_clients": ALL,
        "zmq_tcp_publish": plain | {"server_secret_key": PAIRS["VideoAnalytics"].secret},
    }


def test_tcp_subscriber_knows_its_publisher() -> None:
    assert app("WebVisualizer", VISUALIZER).subscriber().config == {
        "type": "zmq_tcp",
        "camera1_stream_results": {"host": "ia_video_analytics", "port": 65013}
        | client_keys("WebVisualizer", "VideoAnalytics"),
    }


def test_brokered_publisher_is_a_client_of_the_broker() -> None:
    assert app("EmbPublisher", {"Publishers": [BROKERED]}).publisher("TestPub").config == {
        "type": "zmq_tcp",
        "zmq_tcp_publish": {"host": "ia_zmq_broker", "port": 60514, "brokered": True}
        | client_keys("EmbPublisher", "ZmqBroker"),
    }


def test_brokered_ipc_publishers_share_the_socket_file() -> None:
    entry = BROKERED | {"Type": "zmq_ipc", "EndPoint": {"SocketDir": "/EII/sockets", "SocketFile": "frontend-socket"}}
    file = {"socket_file": "frontend-socket", "brokered": True}
    assert app("EmbPublisher", {"Publishers": [entry]}).publisher(0).config == {
        "type": "zmq_ipc",
        "socket_dir": "/EII/sockets",
        "topic-pfx1": file,
        "topic-pfx2": file,
        "": file,
    }


def test_frontend_of_a_broker_is_a_server() -> None:
    assert app("ZmqBroker", {"Subscribers": [FRONTEND]}).subscriber("frontend").config == {
        "type": "zmq_tcp",
        "allowed_clients": ALL,
        "": {"host": "0.0.0.0", "port": 60514, "server_secret_key": PAIRS["ZmqBroker"].secret},
    }


def test_star_among_the_topics_is_every_topic() -> None:
    entry = VISUALIZER["Subscribers"][0] | {"Topics": ["*"], "PublisherAppName": "ZmqBroker"}
    subscriber = app("WebVisualizer", {"Subscribers": [entry]}).subscriber()
    assert subscriber.topics == [""]
    assert set(subscriber.config) == {"type", ""}


@pytest.mark.parametrize(
    "endpoint", ["/EII/sockets, imgstore", {"SocketDir": "/EII/sockets", "SocketFile": "imgstore"}]
)
def test_service_on_ipc_has_its_file(endpoint: Any) -> None:
    entry = {"Name": "ImageStore", "Type": "zmq_ipc", "EndPoint": endpoint}
    expected = {"type": "zmq_ipc", "socket_dir": "/EII/sockets", "ImageStore": {"socket_file": "imgstore"}}
    assert app("ImageStore", {"Servers": [entry]}).server("ImageStore").config == expected
    assert app("RestDataExport", {"Clients": [entry]}).client("ImageStore").config == expected


def test_star_for_a_file_is_no_file() -> None:
    entry = {"Name": "x", "Type": "zmq_ipc", "EndPoint": {"SocketDir": "/EII/sockets", "SocketFile": "*"}}
    assert dev({"Servers": [entry]}).server("x").config == {"type": "zmq_ipc", "socket_dir": "/EII/sockets"}


def test_requester_knows_its_service() -> None:
    entry = {"Name": "ImageStore", "ServerAppName": "ImageStore", "Type": "zmq_tcp", "EndPoint": "ia_imagestore:5669"}
    assert app("RestDataExport", {"Clients": [entry]}).client("ImageStore").config == {
        "type": "zmq_tcp",
        "ImageStore": {"host": "ia_imagestore", "port": 5669} | client_keys("RestDataExport", "ImageStore"),
    }


def test_ipv6_endpoint_stands_in_brackets() -> None:
    entry = VISUALIZER["Subscribers"][0] | {"EndPoint": " [::1] : 5000 "}
    assert dev({"Subscribers": [entry]}).subscriber().config["camera1_stream_results"] == {"host": "::1", "port": 5000}


def test_unknown_application_in_a_list_is_not_let_in_and_told(caplog: pytest.LogCaptureFixture) -> None:
    entry = ANALYTICS["Publishers"][0] | {"AllowedClients": ["WebVisualizer", "Kapacitor", "*"]}
    assert app("VideoAnalytics", {"Publishers": [entry]}).publisher().config["allowed_clients"] == [
        PUBLIC["WebVisualizer"]
    ]
    assert "Publishers[0].AllowedClients: no public key of Kapacitor, *: not let in" in caplog.text


@pytest.mark.parametrize(
    ("environment", "port"),
    [
        ({"SUBSCRIBER_default_ENDPOINT": "x:1"}, 1),
        ({"SUBSCRIBER_ENDPOINT": "x:2"}, 2),
        ({"SUBSCRIBER_default_ENDPOINT": "x:1", "SUBSCRIBER_ENDPOINT": "x:2"}, 2),
        ({"SUBSCRIBER_default_ENDPOINT": "x:1", "SUBSCRIBER_ENDPOINT": ""}, 1),
        ({"SUBSCRIBER_other_ENDPOINT": "x:1", "PUBLISHER_ENDPOINT": "x:2"}, 65013),
    ],
)
def test_environment_overrides_the_endpoint(environment: dict[str, str], port: int) -> None:
    assert dev(VISUALIZER, **environment).subscriber().config["camera1_stream_results"]["port"] == port


def test_environment_overrides_the_type_and_an_endpoint_that_is_an_object(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    entry = {"Name": "x", "Type": "zmq_tcp", "EndPoint": {"SocketDir": "/old", "SocketFile": "old"}}
    config = dev({"Servers": [entry]}, SERVER_x_TYPE="zmq_ipc", SERVER_x_ENDPOINT="/new,file").server("x").config
    assert config == {"type": "zmq_ipc", "socket_dir": "/new", "x": {"socket_file": "file"}}
    assert "Servers[0]: the environment replaces the EndPoint" in caplog.text


@pytest.mark.parametrize(
    ("kind", "change", "where", "problem"),
    [
        ("Subscribers", {"Type": "tcp"}, "Type", "expected one of zmq_tcp, zmq_ipc, got 'tcp'"),
        ("Subscribers", {"Name": 5}, "Name", "expected text, got 5"),
        ("Subscribers", {"Topics": []}, "Topics", "expected a list of topics, got none"),
        ("Subscribers", {"Topics": "camera1"}, "Topics", "expected a list of texts, got 'camera1'"),
        ("Subscribers", {"EndPoint": "host"}, "EndPoint", "expected host:port, got 'host'"),
        ("Subscribers", {"EndPoint": "host:70000"}, "EndPoint", "expected host:port, got 'host:70000'"),
        ("Subscribers", {"EndPoint": {}}, "EndPoint", "expected text or an object, got {}"),
        ("Subscribers", {"EndPoint": {"SocketDir": "/x"}}, "EndPoint", "expected host:port, got {'SocketDir': '/x'}"),
        (
            "Subscribers",
            {"PublisherAppName": "Kapacitor"},
            "PublisherAppName",
            "expected an application whose public key is known, got 'Kapacitor'",
        ),
        ("Subscribers", {"PublisherAppName": None}, "PublisherAppName", "expected text, got None"),
        (
            "Publishers",
            {"AllowedClients": []},
            "AllowedClients",
            "expected names of applications, or '*' for all of them, got none",
        ),
        ("Publishers", {"brokered": "yes"}, "brokered", "expected true or false, got 'yes'"),
        (
            "Publishers",
            {"Type": "zmq_ipc", "EndPoint": "/EII/sockets", "Topics": ["*"]},
            "Topics",
            "expected topics, got '*': without a socket file each has its own",
        ),
        (
            "Publishers",
            {"Type": "zmq_ipc", "EndPoint": {"SocketFile": "x"}},
            "EndPoint",
            "expected a directory, or a directory and a file, got {'SocketFile': 'x'}",
        ),
    ],
)
def test_entry_that_is_wrong_is_named(kind: str, change: dict[str, Any], where: str, problem: str) -> None:
    entry = {"Subscribers": VISUALIZER, "Publishers": ANALYTICS}[kind][kind][0] | change
    with pytest.raises(InvalidConfig) as caught:
        _ = getattr(app("WebVisualizer", {kind: [entry]}), kind.lower())[0].config
    assert (caught.value.where, caught.value.problem) == (f"{kind}[0].{where}", problem)


@pytest.mark.parametrize(
    ("interfaces", "where", "problem"),
    [
        ([], "interfaces", "expected an object, got list"),
        ({"interfaces": 5}, "interfaces", "expected an object, got int"),
        ({"Servers": {}}, "Servers", "expected a list, got dict"),
        ({"Servers": ["x"]}, "Servers[0]", "expected an object, got str"),
    ],
)
def test_interfaces_that_are_wrong_are_named(interfaces: Any, where: str, problem: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        dev(interfaces)
    assert (caught.value.where, caught.value.problem) == (where, problem)


def test_unknown_entry_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(
        InvalidConfig, match="config Publishers: expected one of 'default', or an index below 1, got 'defalt'"
    ):
        dev(ANALYTICS).publisher("defalt")
    with pytest.raises(InvalidConfig, match="config Clients: expected an entry 0, got no entries"):
        dev(ANALYTICS).client(0)


def test_whole_application_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"config": {"queue": 10}, "interfaces": ANALYTICS}))
    read = Application(file, environment=DEV | {"AppName": "VideoAnalytics"})
    assert (read.name, [str(entry) for entry in read.publishers]) == ("VideoAnalytics", ["<Publishers[0] default>"])
    assert read.publisher().config == dev(ANALYTICS).publisher().config
    with pytest.raises(InvalidConfig, match="cannot read interfaces"):
        Application(tmp_path / "none.json", "x", environment=DEV)
    file.write_text('{"a":' * 100_000)
    with pytest.raises(InvalidConfig, match="cannot read interfaces"):
        Application(file, "x", environment=DEV)


@pytest.mark.parametrize(
    ("environment", "where"), [({"AppName": "x"}, "DEV_MODE"), ({"DEV_MODE": "true"}, "AppName"), (PROD, "AppName")]
)
def test_variable_that_is_missing_is_an_error(environment: dict[str, str], where: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        Application({}, environment=environment)
    assert caught.value.where == where


def test_production_without_keys_is_an_error() -> None:
    with pytest.raises(InvalidConfig, match="expected the keys of the applications, since DEV_MODE is not 'true'"):
        Application(VISUALIZER, "WebVisualizer", environment=PROD)


def stored() -> dict[str, str]:
    return {f"/Publickeys/{name}": key for name, key in PUBLIC.items()} | {
        "/ImageStore/private_key": PAIRS["ImageStore"].secret
    }


def test_keys_are_read_from_a_file_and_from_a_directory(tmp_path: Path) -> None:
    file, directory = tmp_path / "keys.json", tmp_path / "keys"
    file.write_text(json.dumps(stored()))
    for name, key in stored().items():
        path = directory / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key + "\n")
    for source in (file, directory):
        read = read_keys(source, "ImageStore")
        assert read == Keys(PUBLIC, PAIRS["ImageStore"].secret)
        assert PAIRS["ImageStore"].secret not in repr(read)


@pytest.mark.parametrize("text", ['{"/ImageStore/private_key": "secret', '["secret"]', "{}"])
def test_keys_that_cannot_be_read_are_an_error_without_a_secret(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(InvalidConfig) as caught:
        read_keys(file, "ImageStore")
    assert caught.value.where == str(file)
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidConfig, match="cannot read keys: No such file or directory"):
        read_keys(tmp_path / "none.json", "ImageStore")
    file.write_text('{"a":' * 100_000)
    with pytest.raises(InvalidConfig, match="cannot read keys: expected a JSON object"):
        read_keys(file, "ImageStore")


EIS2 = {
    "PubTopics": "camera1_stream, camera2_stream",
    "camera1_stream_cfg": "zmq_tcp,127.0.0.1:65013",
    "camera2_stream_cfg": "zmq_ipc,/EIS/sockets, file",
    "SubTopics": "VideoIngestion/camera3_stream",
    "camera3_stream_cfg": "zmq_ipc,/EIS/sockets",
    "Server": "StreamManager",
    "StreamManager_cfg": "zmq_tcp,127.0.0.1:66",
    "RequestEP": "ImageStore",
    "ImageStore_cfg": "zmq_tcp,127.0.0.1:67",
    "Clients": "WebVisualizer,ImageStore",
    "ZMQ_RECV_HWM": "50",
}


def test_environment_of_eis_2_describes_an_application() -> None:
    described = app("VideoAnalytics", from_environment(EIS2))
    top = {"type": "zmq_tcp", "zmq_recv_hwm": 50}
    allowed = {"allowed_clients": [PUBLIC["WebVisualizer"], PUBLIC["ImageStore"]]}
    secret = {"server_secret_key": PAIRS["VideoAnalytics"].secret}
    assert described.publisher("camera1_stream").config == {
        **top,
        **allowed,
        "zmq_tcp_publish": {"host": "127.0.0.1", "port": 65013} | secret,
    }
    assert described.publisher("camera2_stream").config["camera2_stream"] == {"socket_file": "file"}
    assert described.subscriber(0).config == {"type": "zmq_ipc", "zmq_recv_hwm": 50, "socket_dir": "/EIS/sockets"}
    assert described.server(0).config == {
        **top,
        **allowed,
        "StreamManager": {"host": "127.0.0.1", "port": 66} | secret,
    }
    assert described.client(0).config == {
        **top,
        "ImageStore": {"host": "127.0.0.1", "port": 67} | client_keys("VideoAnalytics", "ImageStore"),
    }


@pytest.mark.parametrize(
    ("environment", "where", "problem"),
    [
        ({"PubTopics": "a"}, "a_cfg", "expected zmq_tcp,HOST:PORT or zmq_ipc,DIRECTORY, got None"),
        ({"Server": "a", "a_cfg": "x"}, "a_cfg", "expected zmq_tcp,HOST:PORT or zmq_ipc,DIRECTORY, got 'x'"),
        ({"SubTopics": "a"}, "SubTopics", "expected APP/TOPIC, got 'a'"),
        ({"ZMQ_RECV_HWM": "many"}, "ZMQ_RECV_HWM", "expected a number, got 'many'"),
    ],
)
def test_environment_of_eis_2_that_is_wrong_is_named(environment: dict[str, str], where: str, problem: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        from_environment(environment)
    assert (caught.value.where, caught.value.problem) == (where, problem)


def test_every_configuration_is_one_that_the_bus_takes() -> None:
    described = [
        *app("VideoIngestion", INGESTION).publishers,
        *app("VideoIngestion", INGESTION).servers,
        *app("VideoAnalytics", ANALYTICS).publishers,
        *app("VideoAnalytics", ANALYTICS).subscribers,
        *app("WebVisualizer", VISUALIZER).subscribers,
        *app("EmbPublisher", {"Publishers": [BROKERED]}).publishers,
        *app("ZmqBroker", {"Subscribers": [FRONTEND]}).subscribers,
    ]
    for entry in described:
        Config(entry.config)


def test_two_applications_meet_in_production(tcp_port: int) -> None:
    endpoint = f"127.0.0.1:{tcp_port}"
    analytics = app("VideoAnalytics", ANALYTICS, PUBLISHER_ENDPOINT=endpoint).publisher()
    visualizer = app("WebVisualizer", VISUALIZER, SUBSCRIBER_ENDPOINT=endpoint).subscriber()
    with MsgbusContext(analytics.config) as bus, MsgbusContext(visualizer.config) as other:
        publisher, subscriber = bus.new_publisher(analytics.topics[0]), other.new_subscriber(visualizer.topics[0])
        publisher.wait_for_subscribers(1, timeout=10_000)
        publisher.publish({"defects": []})
        assert subscriber.recv(timeout=10_000).meta_data == {"defects": []}
