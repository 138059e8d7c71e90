"""What users write: every error with its text, files, and what a configuration means for each endpoint."""

import itertools
import json
import types
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eis.msgbus import keys
from eis.msgbus._config import Bind, ClientKeys, Clients, Config, Connect, Directory, Users, load
from eis.msgbus._config.entries import Entry, Fixed, read_entry
from eis.msgbus.exceptions import InvalidConfig

SERVER, CLIENT, OTHER = keys.new_key_pair(), keys.new_key_pair(), keys.new_key_pair()
SECRETS = (SERVER.secret, CLIENT.secret, OTHER.secret)

ADDRESS: dict[str, Any] = {"host": "127.0.0.1", "port": 3000}
CLIENT_ENTRY = ADDRESS | {
    "server_public_key": SERVER.public,
    "client_public_key": CLIENT.public,
    "client_secret_key": CLIENT.secret,
}
SERVER_ENTRY = ADDRESS | {"server_secret_key": SERVER.secret}


def ipc(**entries: Any) -> Config:
    return Config({"type": "zmq_ipc", "socket_dir": "/run/bus", **entries})


def tcp(**entries: Any) -> Config:
    return Config({"type": "zmq_tcp", **entries})


def without(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}


# The dict, or the file that holds it.


def test_dict_is_taken_as_it_is() -> None:
    config = {"type": "zmq_ipc", "socket_dir": "/run/bus"}
    assert load(config) == config


@pytest.mark.parametrize("make", [str, Path])
def test_json_file_is_read_by_path(tmp_path: Path, make: type[Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"type": "zmq_ipc", "socket_dir": "/run/büs"}', encoding="utf-8")
    assert load(make(path)) == {"type": "zmq_ipc", "socket_dir": "/run/büs"}


@pytest.mark.parametrize("name", ["config.toml", "CONFIG.TOML"])
def test_toml_file_is_read_by_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('type = "zmq_tcp"\n[zmq_tcp_publish]\nhost = "*"\nport = 3000\n')
    assert load(tmp_path / name) == {"type": "zmq_tcp", "zmq_tcp_publish": {"host": "*", "port": 3000}}


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (5, "config: expected a dict or the path of a JSON or TOML file, got int"),
        (None, "config: expected a dict or the path of a JSON or TOML file, got NoneType"),
        (b"config.json", "config: expected a dict or the path of a JSON or TOML file, got bytes"),
        ({"type": "memory", 5: {}}, "config: expected keys of type str, got int"),
        ({}, 'config type: expected the name of a transport ("zmq_ipc", "zmq_tcp"), got nothing'),
        ({"type": 5}, 'config type: expected the name of a transport ("zmq_ipc", "zmq_tcp"), got int'),
        ({"type": None}, 'config type: expected the name of a transport ("zmq_ipc", "zmq_tcp"), got NoneType'),
        (
            {"tpye": "zmq_ipc"},
            'config type: expected the name of a transport ("zmq_ipc", "zmq_tcp"), got nothing; is it \'tpye\'?',
        ),
    ],
)
def test_load_refuses_what_is_no_configuration(config: Any, text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(config)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", b"{'type'", "expected JSON: Expecting property name"),
        ("a.json", b"\xff\xfe{", "expected JSON: "),
        ("a.json", b'{"a":' * 100_000, "expected JSON: maximum recursion depth"),
        ("a.json", b"[]", "expected a dict or the path"),
        ("a.toml", b"type = zmq", "expected TOML: Invalid value"),
        ("a.toml", b"type = '\xff'", "expected TOML: 'utf-8' codec"),
        ("a.toml", b"a = " + b"[" * 100_000, "expected TOML: "),
    ],
    ids=range(7),
)
def test_load_refuses_a_file_that_holds_something_else(tmp_path: Path, name: str, text: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InvalidConfig, match=problem):
        load(tmp_path / name)


def test_load_names_the_file_that_it_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "absent.json"
    with pytest.raises(InvalidConfig) as caught:
        load(path)
    assert str(caught.value) == f"config {path}: cannot read it: No such file or directory"


def test_load_refuses_a_path_that_no_file_has() -> None:
    with pytest.raises(InvalidConfig, match="null byte"):
        load("config\0.json")


# Keys that are wrong whatever they are used for.


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        # typos
        (
            {"socket_dri": "/run"},
            "config socket_dri: expected an object for a topic or service, got str; did you mean 'socket_dir'?",
        ),
        (
            {"allowed_client": []},
            (
                "config allowed_client: expected an object for a topic or service, got list; "
                "did you mean 'allowed_clients'?"
            ),
        ),
        ({"zmq_tcp_publsh": {}}, "config zmq_tcp_publsh: unknown key; did you mean 'zmq_tcp_publish'?"),
        ({"zmq_recv_hwn": 5}, "config zmq_recv_hwn: unknown key; did you mean 'zmq_recv_hwm'?"),
        ({"zmq_else": 5}, "config zmq_else: unknown key"),
        ({"camera1": {"prot": 3000}}, "config camera1.prot: unknown key; did you mean 'port'?"),
        ({"zmq_tcp_publish": {"prot": 1}}, "config zmq_tcp_publish.prot: unknown key; did you mean 'port'?"),
        (
            {"camera1": {"quality": 5}},
            (
                "config camera1.quality: unknown key; known are host, port, server_public_key, client_public_key, "
                "client_secret_key, server_secret_key, socket_file, brokered, allowed_clients, topics, allowed_users, "
                "allowed_groups"
            ),
        ),
        # types
        ({"camera1": 5}, "config camera1: expected an object for a topic or service, got int"),
        ({"zmq_tcp_publish": []}, "config zmq_tcp_publish: expected an object for a topic or service, got list"),
        ({"socket_dir": 5}, "config socket_dir: expected str, got int"),
        ({"allowed_clients": OTHER.public}, "config allowed_clients: expected array, got str"),
        ({"allowed_clients": [5]}, "config allowed_clients[0]: expected str, got int"),
        ({"zmq_recv_hwm": "5"}, "config zmq_recv_hwm: expected int, got str"),
        ({"zmq_recv_hwm": True}, "config zmq_recv_hwm: expected int, got bool"),
        ({"zmq_connect_retries": 1.5}, "config zmq_connect_retries: expected int, got float"),
        ({"camera1": {"host": 5}}, "config camera1.host: expected str, got int"),
        ({"camera1": {"port": "3000"}}, "config camera1.port: expected int, got str"),
        ({"camera1": {"brokered": "yes"}}, "config camera1.brokered: expected bool, got str"),
        ({"zmq_tcp_publish": {"port": True}}, "config zmq_tcp_publish.port: expected int, got bool"),
        ({"camera1": {5: 5}}, "config camera1: expected keys of type str, got int"),
        # None is not "no key": a secret that was not found must not open the door
        ({"allowed_clients": None}, "config allowed_clients: expected a value, got None: leave the key out"),
        (
            {"zmq_tcp_publish": {"server_secret_key": None}},
            "config zmq_tcp_publish.server_secret_key: expected a value, got None: leave the key out",
        ),
        # values
        ({"camera1": {"port": 0}}, "config camera1.port: expected int >= 1, got 0"),
        ({"camera1": {"port": 65536}}, "config camera1.port: expected int <= 65535, got 65536"),
        ({"camera1": {"port": 10**9999}}, "config camera1.port: expected int <= 65535, got one of many digits"),
        ({"zmq_recv_hwm": -1}, "config zmq_recv_hwm: expected int >= 0, got -1"),
        ({"zmq_connect_retries": 2**31}, "config zmq_connect_retries: expected int <= 2147483647, got 2147483648"),
        ({"@camera1": {}}, "config @camera1: expected a name that does not begin with @"),
        ({"socket_dir": "@abstract"}, "config socket_dir: expected a directory, got '@abstract'"),
        ({"socket_dir": ""}, "config socket_dir: expected a directory, got ''"),
        ({"socket_dir": "/run\0"}, "config socket_dir: expected a directory, got '/run\\x00'"),
        ({"socket_dir": "/run/\ud800"}, "config socket_dir: expected a directory, got '/run/\\ud800'"),
        ({"a\nb": {"port": 0}}, 'config "a\\nb".port: expected int >= 1, got 0'),
        ({"camera1": {"\ud800": 0}}, 'config camera1."\\ud800": unknown key; known are '),
        (
            {"allowed_clients": [OTHER.public, "x"]},
            "config allowed_clients[1]: expected a key of 40 characters in Z85, got 1 characters",
        ),
        (
            {"camera1": {"server_public_key": "x" * 39 + "~"}},
            (
                "config camera1.server_public_key: expected a key of 40 characters in Z85, "
                "got 1 characters outside its alphabet"
            ),
        ),
        (
            {"camera1": CLIENT_ENTRY | {"client_secret_key": OTHER.secret}},
            "config camera1.client_secret_key: expected the secret of client_public_key, got the secret of another",
        ),
    ],
)
def test_config_refuses(entries: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        Config({"type": "zmq_tcp", **entries})
    assert str(caught.value).startswith(text)
    assert text.endswith("known are ") or str(caught.value) == text


@pytest.mark.parametrize("file", ["../x", "a/b", "a\\b", "", ".", "..", "@x", "a\0b", "\ud800"])
def test_socket_file_is_refused_when_it_is_no_plain_name(file: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        ipc(camera1={"socket_file": file})
    assert str(caught.value) == (f"config camera1.socket_file: cannot take {file!r}, expected the plain name of a file")


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a;b", "a\0b", "\ud800", "a" * 64, "a..b"])
def test_host_is_refused_when_none_can_have_that_name(host: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(camera1={"host": host, "port": 1})
    assert str(caught.value) == f"config camera1.host: expected a host name or address, got {host!r}"


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "box:3000", "tcp://box", "[::1]:3000"])
def test_host_is_refused_with_a_hint_when_a_port_is_in_it(host: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(camera1={"host": host, "port": 1})
    problem = f"expected a host name or address, got {host!r}: the port has a key of its own"
    assert (caught.value.where, caught.value.problem) == ("camera1.host", problem)


@pytest.mark.parametrize("host", ["localhost", "box-1.example.org", "10.0.0.1", "::1", "fe80::1%eth0", "bü.de"])
def test_host_is_accepted_by_name_and_by_address(host: str) -> None:
    assert tcp(camera1={"host": host, "port": 1}).tcp_client("camera1").host == host


def test_ipv6_address_may_have_brackets() -> None:
    meaning = tcp(zmq_tcp_publish={"host": "[::1]", "port": 1}, camera1={"host": "[::1]", "port": 1})
    assert (meaning.tcp_client("camera1").host, meaning.tcp_publisher().host) == ("::1", "::1")


# zmq_ipc


def test_socket_dir_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Config({"type": "zmq_ipc", "socket_dir": "bus"}).directory().path == str(tmp_path / "bus")


def test_socket_dir_is_required_where_it_is_used() -> None:
    with pytest.raises(InvalidConfig, match="config socket_dir: expected the directory of the socket files, got noth"):
        Config({"type": "zmq_ipc"}).directory()


@pytest.mark.parametrize(
    ("entries", "file"),
    [
        ({}, "camera1"),
        ({"camera1": {}}, "camera1"),
        ({"camera1": {"socket_file": "shared"}}, "shared"),
        ({"": {"socket_file": "default"}}, "default"),
        ({"": {"socket_file": "default"}, "camera1": {"socket_file": "own"}}, "own"),
        ({"camera2": {"socket_file": "other"}}, "camera1"),
    ],
)
def test_socket_file_is_the_nearest_entry_or_the_name(entries: dict[str, Any], file: str) -> None:
    assert ipc(**entries).socket_file("camera1") == file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "config \"\": cannot take '' as the name of a socket file: give the name a socket_file"),
        ("a/b", "config a/b: cannot take 'a/b' as the name of a socket file: give the name a socket_file"),
        ("..", "config ..: cannot take '..' as the name of a socket file: give the name a socket_file"),
    ],
)
def test_name_is_refused_when_no_file_can_have_it(name: str, text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        ipc().socket_file(name)
    assert str(caught.value) == text


def test_name_that_no_file_can_have_is_fine_with_a_socket_file() -> None:
    assert ipc(**{"a/b": {"socket_file": "ab"}}).socket_file("a/b") == "ab"


@pytest.mark.parametrize(
    ("entries", "brokered"),
    [
        ({}, False),
        ({"camera1": {"brokered": True}}, True),
        ({"": {"brokered": True}}, True),
        ({"": {"brokered": True}, "camera1": {"brokered": False}}, False),
        ({"": {"brokered": True}, "camera1": {"socket_file": "own"}}, True),
    ],
)
def test_publisher_is_brokered_when_the_nearest_entry_says_so(entries: dict[str, Any], brokered: bool) -> None:
    assert ipc(**entries).brokered_ipc("camera1") is brokered


# zmq_tcp


def test_publisher_binds_without_keys() -> None:
    assert tcp(zmq_tcp_publish=ADDRESS).tcp_publisher() == Bind("127.0.0.1", 3000, None, None)


def test_publisher_binds_with_its_secret_and_the_allowed_clients() -> None:
    config = tcp(zmq_tcp_publish=SERVER_ENTRY, allowed_clients=[CLIENT.public, CLIENT.public])
    assert config.tcp_publisher() == Bind("127.0.0.1", 3000, SERVER.secret, Clients({CLIENT.public: CLIENT.public}))


def test_nobody_is_allowed_when_the_list_is_empty() -> None:
    where = tcp(zmq_tcp_publish=SERVER_ENTRY, allowed_clients=[]).tcp_publisher()
    assert isinstance(where, Bind)
    assert where.clients == Clients({})


def test_brokered_publisher_connects_with_its_keys() -> None:
    where = tcp(zmq_tcp_publish=CLIENT_ENTRY | {"brokered": True}).tcp_publisher()
    assert where == Connect("127.0.0.1", 3000, ClientKeys((SERVER.public,), CLIENT.public, CLIENT.secret))


@pytest.mark.parametrize("entry", [ADDRESS, ADDRESS | {"server_secret_key": SERVER.secret} | CLIENT_ENTRY])
def test_client_connects_with_all_three_keys_or_none(entry: dict[str, Any]) -> None:
    known = ClientKeys((SERVER.public,), CLIENT.public, CLIENT.secret) if len(entry) > 2 else None
    assert tcp(camera1=entry).tcp_client("camera1") == Connect("127.0.0.1", 3000, known)


def test_service_binds_with_its_secret() -> None:
    assert tcp(echo=SERVER_ENTRY).tcp_service("echo") == Bind("127.0.0.1", 3000, SERVER.secret, None)


def test_publisher_needs_its_entry() -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp().tcp_publisher()
    assert str(caught.value) == "config zmq_tcp_publish: expected an object with host and port, got nothing"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("camera2", "config camera2: expected an object with host and port, got nothing; did you mean 'camera1'?"),
        ("results", "config results: expected an object with host and port, got nothing"),
        ("", 'config "": expected an object with host and port, got nothing'),
    ],
)
@pytest.mark.parametrize("role", ["tcp_client", "tcp_service"])
def test_client_and_service_need_their_exact_entry(role: str, name: str, text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        getattr(tcp(camera1=ADDRESS), role)(name)
    assert str(caught.value) == text


@pytest.mark.parametrize("role", ["tcp_client", "tcp_service"])
@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"port": 3000}, "config x.host: expected a host name or address, got nothing"),
        ({"host": "h"}, "config x.port: expected a port from 1 to 65535, got nothing"),
    ],
)
def test_host_and_port_are_required(role: str, entry: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        getattr(tcp(x=entry), role)("x")
    assert str(caught.value) == text


@pytest.mark.parametrize("missing", ["server_public_key", "client_public_key", "client_secret_key"])
def test_client_is_refused_when_one_of_three_keys_is_missing(missing: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(x=without(CLIENT_ENTRY, missing)).tcp_client("x")
    assert str(caught.value) == f"config x.{missing}: expected all three keys of a client or none, got nothing"


@pytest.mark.parametrize("only", ["server_public_key", "client_public_key", "client_secret_key"])
def test_client_is_refused_when_it_has_one_key_only(only: str) -> None:
    with pytest.raises(InvalidConfig, match="expected all three keys of a client or none, got nothing"):
        tcp(x=ADDRESS | {only: CLIENT_ENTRY[only]}).tcp_client("x")


def test_client_is_refused_when_it_has_the_key_of_a_server() -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(x=SERVER_ENTRY).tcp_client("x")
    assert str(caught.value) == (
        "config x.server_public_key: expected all three keys of a client or none, got the key of a server"
    )


def test_client_is_refused_when_it_would_connect_everywhere() -> None:
    with pytest.raises(InvalidConfig, match=r"config x\.host: expected the host to connect to, got '\*'"):
        tcp(x={"host": "*", "port": 1}).tcp_client("x")


def test_server_is_refused_when_it_has_keys_of_a_client_only() -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(x=CLIENT_ENTRY).tcp_service("x")
    assert str(caught.value) == (
        "config x.server_secret_key: expected the key of what binds here, got only keys of a client"
    )


@pytest.mark.parametrize("allowed", [[], [CLIENT.public]])
def test_server_is_refused_when_it_would_serve_allowed_clients_in_plain_text(allowed: list[str]) -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(zmq_tcp_publish=ADDRESS, allowed_clients=allowed).tcp_publisher()
    assert str(caught.value) == (
        "config zmq_tcp_publish.server_secret_key: allowed_clients needs it: without it everything is plain text"
    )


# Who gets in, with keys.

NAMED = {"viewer": CLIENT.public, "logger": OTHER.public}


def clients_of(**entries: Any) -> Clients | None:
    where = tcp(**entries).tcp_publisher()
    assert isinstance(where, Bind)
    return where.clients


@pytest.mark.parametrize(
    ("entries", "clients"),
    [
        ({"clients": NAMED}, {CLIENT.public: "viewer", OTHER.public: "logger"}),
        ({"clients": NAMED, "allowed_clients": ["logger"]}, {OTHER.public: "logger"}),
        (
            {"clients": NAMED, "allowed_clients": [CLIENT.public, SERVER.public]},
            {CLIENT.public: "viewer", SERVER.public: SERVER.public},
        ),
        ({"clients": {}}, {}),
    ],
)
def test_clients_are_named_where_they_have_names(entries: dict[str, Any], clients: dict[str, str]) -> None:
    assert clients_of(zmq_tcp_publish=SERVER_ENTRY, **entries) == Clients(clients)


def test_list_of_an_entry_comes_before_that_of_all() -> None:
    config = tcp(
        clients=NAMED,
        allowed_clients=["viewer", "logger"],
        echo=SERVER_ENTRY | {"allowed_clients": ["logger"]},
        reboot=SERVER_ENTRY | {"allowed_clients": []},
        other=SERVER_ENTRY,
    )
    names = [config.tcp_service(name).clients for name in ("echo", "reboot", "other")]
    assert names == [
        Clients({OTHER.public: "logger"}),
        Clients({}),
        Clients({CLIENT.public: "viewer", OTHER.public: "logger"}),
    ]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ({}, {CLIENT.public: "viewer", SERVER.public: SERVER.public}),
        ({"allowed_clients": ["viewer"]}, {CLIENT.public: "viewer"}),
    ],
)
def test_topics_say_who_reads_what_and_who_gets_in(entry: dict[str, Any], names: dict[str, str]) -> None:
    topics = {"camera1": ["viewer", SERVER.public], "camera2": [], "": [CLIENT.public]}
    readers = {
        "camera1": frozenset(("viewer", SERVER.public)),
        "camera2": frozenset[str](),
        "": frozenset(("viewer",)),
    }
    found = clients_of(zmq_tcp_publish=SERVER_ENTRY | {"topics": topics} | entry, clients=NAMED)
    assert found == Clients(names, readers)


def test_list_of_all_decides_who_gets_in_beside_topics() -> None:
    entry = SERVER_ENTRY | {"topics": {"camera1": ["viewer", "logger"]}}
    found = clients_of(zmq_tcp_publish=entry, clients=NAMED, allowed_clients=["logger"])
    assert found == Clients({OTHER.public: "logger"}, {"camera1": frozenset(("viewer", "logger"))})


@pytest.mark.parametrize(
    ("key", "entry", "top"),
    [
        ("topics", {"topics": {}}, {}),
        ("allowed_clients", {"allowed_clients": []}, {}),
        ("clients", {}, {"clients": {}}),
    ],
)
def test_every_list_needs_encryption(key: str, entry: dict[str, Any], top: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig) as caught:
        clients_of(zmq_tcp_publish=ADDRESS | entry, **top)
    assert str(caught.value) == (
        f"config zmq_tcp_publish.server_secret_key: {key} needs it: without it everything is plain text"
    )


_KEY = "expected a key of 40 characters in Z85, got 1 characters"
_NAME = "expected a key or one of the names in clients"
_EVERYBODY = "leave allowed_clients out to let in every client that knows the server's public key"


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"allowed_clients": ["x"]}, f"allowed_clients[0]: {_KEY}"),
        (
            {"allowed_clients": ["*"]},
            f"allowed_clients[0]: expected public keys or names in clients, got '*': {_EVERYBODY}",
        ),
        ({"zmq_tcp_publish": {"topics": {"camera1": ["*"]}}}, f"zmq_tcp_publish.topics.camera1[0]: {_KEY}"),
        ({"echo": {"allowed_clients": [OTHER.public, "x"]}}, f"echo.allowed_clients[1]: {_KEY}"),
        ({"zmq_tcp_publish": {"topics": {"camera1": ["x"]}}}, f"zmq_tcp_publish.topics.camera1[0]: {_KEY}"),
        ({"zmq_tcp_publish": {"topics": {"a\n": ["x"]}}}, f'zmq_tcp_publish.topics."a\\n"[0]: {_KEY}'),
        ({"zmq_tcp_publish": {"allowed_clients": ["x"]}}, f"zmq_tcp_publish.allowed_clients[0]: {_KEY}"),
        ({"clients": NAMED, "allowed_clients": ["x"]}, f"allowed_clients[0]: {_NAME}"),
        (
            {"clients": NAMED, "zmq_tcp_publish": {"topics": {"camera1": ["viewer", "veiwer"]}}},
            f"zmq_tcp_publish.topics.camera1[1]: {_NAME}; did you mean 'viewer'?",
        ),
        ({"clients": {"viewer": "x"}}, f"clients.viewer: {_KEY}"),
        ({"clients": {"viewer": 5}}, "clients[...]: expected str, got int"),
        (
            {"clients": {"viewer": CLIENT.public, "other": CLIENT.public}},
            "clients.other: expected a key of its own, got that of 'viewer'",
        ),
        *(
            (
                {"clients": {name: CLIENT.public}},
                f"clients{shown}: expected a printable name of at most 100 bytes that is no key itself",
            )
            for name, shown in (("", '.""'), ("a\n", '."a\\n"'), ("ü" * 51, "." + "ü" * 51), (OTHER.secret, ""))
        ),
        (
            {"echo": {"topics": {"camera1": []}}},
            "echo.topics: expected it in zmq_tcp_publish only, which says who may read what",
        ),
        (
            {"zmq_tcp_publish": {"brokered": True, "topics": {}}},
            "zmq_tcp_publish.topics: the broker decides who gets in, not who is brokered",
        ),
        (
            {"zmq_tcp_publish": {"brokered": True, "allowed_clients": []}},
            "zmq_tcp_publish.allowed_clients: the broker decides who gets in, not who is brokered",
        ),
        *(
            ({"camera1": {key: ["root"]}}, f"camera1.{key}: zmq_tcp has no socket files: allowed_clients decides ")
            for key in ("allowed_users", "allowed_groups")
        ),
        ({"socket_group": "video"}, "socket_group: zmq_tcp has no socket files: allowed_clients decides who gets in"),
    ],
)
def test_wrong_list_is_refused_before_anything_is_opened(entries: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(**entries)
    assert str(caught.value).startswith(f"config {text}")


@pytest.mark.parametrize(
    ("keys_of_tcp", "where"),
    [
        ({"allowed_clients": []}, "allowed_clients"),
        ({"clients": NAMED}, "clients"),
        ({"require_encryption": True}, "require_encryption"),
        ({"camera1": {"allowed_clients": []}}, "camera1.allowed_clients"),
        ({"": {"topics": {}}}, '"".topics'),
        ({"zmq_tcp_publish": {"topics": {}}}, "zmq_tcp_publish.topics"),
    ],
)
def test_list_of_keys_is_refused_where_there_are_none(keys_of_tcp: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        ipc(**keys_of_tcp)
    assert str(caught.value) == (
        f"config {where}: zmq_ipc knows no keys: the group of the socket files decides, "
        "or allowed_users and allowed_groups"
    )


def _may_read(topics: Mapping[str, frozenset[str]], name: str, topic: str) -> bool:
    """Tell, as the documentation words it, whether a client may read one topic."""
    for length in range(len(topic), -1, -1):
        if topic[:length] in topics:
            return name in topics[topic[:length]]
    return False


_short = st.text("ab", max_size=3)
_topics = st.dictionaries(_short, st.frozensets(st.sampled_from(("viewer", "logger"))), max_size=6)


@settings(max_examples=1000)
@given(_topics, st.sampled_from(("viewer", "logger", "stranger")), _short)
def test_client_may_subscribe_to_what_it_may_read_all_of(
    topics: dict[str, frozenset[str]], name: str, prefix: str
) -> None:
    longer = ("".join(letters) for length in range(5) for letters in itertools.product("abc", repeat=length))
    everything = [prefix + rest for rest in longer]
    expected = all(_may_read(topics, name, topic) for topic in everything)
    assert Clients({}, topics).may_subscribe(name, prefix) is expected


def test_every_client_may_subscribe_where_no_topics_are_listed() -> None:
    assert Clients({}).may_subscribe("stranger", "")


# Who gets in at a socket file.


@pytest.mark.parametrize(
    ("entries", "users"),
    [
        ({}, None),
        ({"camera1": {}, "": {}}, None),
        ({"camera1": {"allowed_users": ["viewer", 0]}}, Users(("viewer", 0))),
        ({"camera1": {"allowed_groups": [44]}}, Users((), (44,))),
        ({"camera1": {"allowed_users": []}, "": {"allowed_groups": ["video"]}}, Users()),
        ({"camera1": {"socket_file": "x"}, "": {"allowed_groups": ["video"]}}, Users((), ("video",))),
    ],
)
def test_users_are_those_of_the_nearest_entry_that_lists_some(entries: dict[str, Any], users: Users | None) -> None:
    assert ipc(**entries).users("camera1") == users


@pytest.mark.parametrize("key", ["allowed_users", "allowed_groups"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["root", -1], "[1]: expected int >= 0, got -1"),
        ([2**32 - 1], "[0]: expected int <= 4294967294, got 4294967295"),
        ([1.5], "[0]: expected int | str, got float"),
        ("root", ": expected array, got str"),
    ],
)
def test_user_is_refused_when_none_can_be_meant(key: str, value: Any, text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        ipc(camera1={key: value})
    assert str(caught.value) == f"config camera1.{key}{text}"


def test_users_of_a_brokered_publisher_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"config camera1\.allowed_users: the broker decides who gets in"):
        ipc(camera1={"brokered": True, "allowed_users": []})


def test_users_for_all_names_stand_beside_brokered_publishers() -> None:
    assert ipc(**{"": {"brokered": True, "allowed_users": ["viewer"]}}).users("echo") == Users(("viewer",))


def test_directory_is_as_the_user_says() -> None:
    config = ipc(socket_group="video", shared_directory=True, allow_open_directory=True)
    assert config.directory() == Directory("/run/bus", "video", shared=True, allow_open=True)


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"stalled_after": "\ud800"}, "stalled_after"),
        ({"camera1": {"port": "\ud800"}}, "camera1.port"),
        ({"camera1": {"topics": {"": "\ud800"}}}, "camera1"),
    ],
)
def test_text_that_utf8_has_no_form_for_is_refused_where_none_is_expected(config: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        Config({"type": "zmq_tcp", **config})
    assert (caught.value.where, caught.value.problem) == (where, "expected text that UTF-8 can hold")


# For both.


def test_server_keys_may_be_several() -> None:
    entry = CLIENT_ENTRY | {"server_public_key": [OTHER.public, SERVER.public]}
    expected = ClientKeys((OTHER.public, SERVER.public), CLIENT.public, CLIENT.secret)
    assert tcp(camera1=entry).tcp_client("camera1").keys == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], ": expected a key or a list of keys, got an empty list"),
        ([SERVER.public, "x"], f"[1]: {_KEY}"),
        (["x"], f"[0]: {_KEY}"),
        (5, ": expected str | array, got int"),
    ],
)
def test_server_keys_are_refused_when_one_is_wrong(value: Any, text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(camera1=CLIENT_ENTRY | {"server_public_key": value})
    assert str(caught.value) == f"config camera1.server_public_key{text}"


def test_queue_and_retries_are_the_users() -> None:
    config = tcp(zmq_recv_hwm=0, zmq_connect_retries=7)
    assert (config.recv_hwm, config.connect_retries) == (0, 7)


def test_queue_and_retries_are_none_when_the_user_says_nothing() -> None:
    assert (tcp().recv_hwm, tcp().connect_retries) == (None, None)


def test_config_takes_any_mapping() -> None:
    entry = types.MappingProxyType(ADDRESS)
    config = types.MappingProxyType({"type": "zmq_tcp", "zmq_tcp_publish": entry, "camera1": entry})
    assert Config(config).tcp_client("camera1") == Connect("127.0.0.1", 3000, None)


def test_config_does_not_change_the_users_dict() -> None:
    config = {"type": "zmq_tcp", "zmq_tcp_publish": dict(SERVER_ENTRY), "allowed_clients": [CLIENT.public]}
    before = json.dumps(config)
    Config(config).tcp_publisher()
    assert json.dumps(config) == before


# Whatever comes.

_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
_names = (
    st.text() | st.integers() | st.sampled_from((*Entry.__struct_fields__, *Fixed.__struct_fields__, "", "camera1"))
)
_nested = st.recursive(
    _scalars | st.sampled_from((3000, "127.0.0.1", SERVER.public, CLIENT.public)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=6),
    max_leaves=12,
)
_secrets = st.sampled_from(SECRETS) | st.sampled_from(SECRETS).map(lambda secret: secret + "x")
_entries = st.fixed_dictionaries(
    {},
    optional={
        name: _secrets | st.sampled_from((SERVER.public, CLIENT.public)) if name.endswith("_key") else _nested
        for name in Entry.__struct_fields__
    },
)
_configs = st.dictionaries(_names, _nested | _entries | st.lists(_secrets), max_size=6)


def _means_something(config: Any) -> str:
    """Ask a configuration everything that it can be asked; return all that it says."""
    said = []
    try:
        checked = Config(load(config))
    except InvalidConfig as error:
        return str(error)
    questions: list[Callable[[], object]] = [checked.directory, checked.tcp_publisher]
    for ask in (checked.users, checked.socket_file, checked.brokered_ipc, checked.tcp_client, checked.tcp_service):
        questions += [partial(ask, ""), partial(ask, "camera1")]
    for question in questions:
        try:
            said.append(repr(question()))
        except InvalidConfig as error:
            said.append(f"{error} {error!r}")
    return "".join(said)


@settings(max_examples=2000)
@given(
    _configs.map(lambda config: {"type": "zmq_tcp", **config}) | _nested.filter(lambda config: type(config) is not str)
)
def test_anything_is_a_config_or_an_invalid_config_and_says_no_secret(config: Any) -> None:
    said = _means_something(config)
    assert not any(secret in said for secret in SECRETS)


@pytest.mark.parametrize("key", ["server_secret_key", "client_secret_key"])
@pytest.mark.parametrize("broken", [SERVER.secret[:-1], SERVER.secret + "x", SERVER.secret[:-1] + "~"])
def test_secret_is_not_in_the_error_when_it_is_wrong(key: str, broken: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        tcp(x=ADDRESS | {key: broken})
    assert SERVER.secret[:20] not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("where", [tcp(x=SERVER_ENTRY).tcp_service("x"), tcp(x=CLIENT_ENTRY).tcp_client("x")])
def test_secret_is_not_in_the_repr_of_where_an_endpoint_goes(where: Bind | Connect) -> None:
    assert not any(secret in repr(where) for secret in SECRETS)


def test_repr_of_an_entry_names_its_keys_and_holds_none() -> None:
    pair = keys.new_key_pair()
    entry = read_entry("service", {"host": "h", "port": 5000, "server_secret_key": pair.secret})
    assert repr(entry) == "Entry(host='h', port=5000, socket_file=None, keys=['server_secret_key'])"


def test_error_about_a_file_that_is_no_json_holds_nothing_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"type": "zmq_tcp", "client_secret_key": "SECRET", ', encoding="utf-8")
    with pytest.raises(InvalidConfig) as caught:
        load(path)
    assert "SECRET" not in repr((caught.value, caught.value.__cause__))
    assert caught.value.__cause__ is None
