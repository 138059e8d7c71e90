"""`cfgmgr.config_manager` as the applications of EIS/EII use it, with settings in files."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cfgmgr.config_manager import ConfigMgr
from cfgmgr.files import FileStore
from eis.msgbus import InvalidConfig, keys
from tests.meeting import until

APPS = ("VideoIngestion", "VideoAnalytics", "WebVisualizer")
PAIRS = {app: keys.new_key_pair() for app in APPS}
INTERFACES: dict[str, Any] = {
    "Publishers": [
        {
            "Name": "default",
            "Type": "zmq_tcp",
            "EndPoint": "0.0.0.0:65013",
            "Topics": ["camera1_stream_results", "b"],
            "AllowedClients": ["WebVisualizer"],
        },
        {
            "Name": "files",
            "Type": "zmq_ipc",
            "EndPoint": {"SocketDir": "/EII/sockets", "SocketFile": "f"},
            "Topics": ["a"],
        },
    ],
    "Subscribers": [
        {
            "Name": "default",
            "Type": "zmq_ipc",
            "EndPoint": "/EII/sockets, f",
            "Topics": ["*"],
            "PublisherAppName": "VideoIngestion",
        }
    ],
    "Servers": [{"Name": "s", "Type": "zmq_tcp", "EndPoint": "0.0.0.0:1", "AllowedClients": ["*"]}],
    "Clients": [{"Name": "c", "Type": "zmq_tcp", "EndPoint": "h:2", "ServerAppName": "VideoIngestion"}],
}
CONFIG = {"queue_size": 10, "udfs": [{"name": "dummy"}]}
STORED: dict[str, Any] = {
    "/GlobalEnv/": {"PY_LOG_LEVEL": "DEBUG"},
    "/VideoAnalytics/config": CONFIG,
    "/VideoAnalytics/interfaces": INTERFACES,
    "/VideoAnalytics/private_key": PAIRS["VideoAnalytics"].secret,
    **{f"/Publickeys/{app}": pair.public for app, pair in PAIRS.items()},
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(os.environ)
    monkeypatch.setenv("AppName", "VideoAnalytics")
    monkeypatch.setenv("DEV_MODE", "true")
    yield
    for name in os.environ.keys() - before.keys() - {"AppName", "DEV_MODE", "CONFIGMGR_SOURCE"}:
        del os.environ[name]  # what /GlobalEnv/ has put there


def in_file(folder: Path, stored: Any = STORED) -> Path:
    file = folder / "eii_config.json"
    file.write_text(stored if isinstance(stored, str) else json.dumps(stored))
    return file


def in_directory(folder: Path) -> Path:
    for key, value in STORED.items():
        path = folder / "store" / key.strip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((value if isinstance(value, str) else json.dumps(value)) + "\n")
    return folder / "store"


@pytest.mark.parametrize("store", [in_file, in_directory])
def test_application_in_production_finds_all_that_it_asks_for(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(store(tmp_path)))
    monkeypatch.setenv("DEV_MODE", "false")
    ctx = ConfigMgr()
    assert (ctx.get_app_name(), ctx.is_dev_mode(), os.environ["PY_LOG_LEVEL"]) == ("VideoAnalytics", False, "DEBUG")
    config = ctx.get_app_config()
    assert (config["queue_size"], config.get_dict(), config.get("none", 5)) == (10, CONFIG, 5)
    counts = ctx.get_num_publishers(), ctx.get_num_subscribers(), ctx.get_num_servers(), ctx.get_num_clients()
    assert counts == (2, 1, 1, 1)
    publisher, secret = ctx.get_publisher_by_name("default"), {"server_secret_key": PAIRS["VideoAnalytics"].secret}
    assert publisher.get_msgbus_config() == {
        "type": "zmq_tcp",
        "zmq_tcp_publish": {"host": "0.0.0.0", "port": 65013} | secret,
        "allowed_clients": [PAIRS["WebVisualizer"].public],
    }
    assert publisher.get_topics() == ["camera1_stream_results", "b"]
    assert (publisher.get_endpoint(), publisher.get_allowed_clients()) == ("0.0.0.0:65013", ["WebVisualizer"])
    assert publisher.get_interface_value("Type") == "zmq_tcp"
    assert ctx.get_publisher_by_index(1).get_endpoint() == {"SocketDir": "/EII/sockets", "SocketFile": "f"}
    assert ctx.get_subscriber_by_index(0).get_topics() == [""]
    assert ctx.get_subscriber_by_name("default").get_msgbus_config()[""] == {"socket_file": "f"}
    server = ctx.get_server_by_name("s").get_msgbus_config()
    assert server["s"] == {"host": "0.0.0.0", "port": 1} | secret
    assert set(server["allowed_clients"]) == {pair.public for pair in PAIRS.values()}
    assert ctx.get_server_by_index(0).get_allowed_clients() == ["*"]
    client = ctx.get_client_by_name("c").get_msgbus_config()["c"]
    assert client["server_public_key"] == PAIRS["VideoIngestion"].public
    assert ctx.get_client_by_index(0).get_endpoint() == "h:2"


def test_topics_can_be_set_and_change_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path)))
    topics = ["c", "d"]
    for entry in (ConfigMgr().get_publisher_by_index(1), ConfigMgr().get_subscriber_by_index(0)):
        assert entry.set_topics(topics)
        assert (entry.get_topics(), topics) == (["c", "d"], ["c", "d"])
        assert set(entry.get_msgbus_config()) == {"type", "socket_dir", "c", "d", ""}


def test_application_runs_with_its_own_config_json_in_development(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"config": CONFIG, "interfaces": INTERFACES}
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path, own)))
    ctx = ConfigMgr()
    assert (ctx.get_app_config().get_dict(), ctx.is_dev_mode()) == (CONFIG, True)
    assert ctx.get_publisher_by_name("default").get_msgbus_config() == {
        "type": "zmq_tcp",
        "zmq_tcp_publish": {"host": "0.0.0.0", "port": 65013},
    }


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("{", "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ('{"a":' * 100_000, "expected a JSON object"),
        ({}, "config AppName: expected /VideoAnalytics/config and /VideoAnalytics/interfaces, got neither"),
        ({"/VideoAnalytics/config": "{"}, "config /VideoAnalytics/config: expected a JSON object"),
        ({"/VideoAnalytics/config": "[" * 100_000}, "config /VideoAnalytics/config: expected a JSON object"),
        ({"interfaces": []}, "config /VideoAnalytics/interfaces: expected a JSON object, got list"),
        ({"config": {}, "/GlobalEnv/": {"X": 1}}, "config /GlobalEnv/.X: expected text, got int"),
    ],
)
def test_settings_that_are_wrong_are_named(
    stored: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path, stored)))
    with pytest.raises(InvalidConfig) as caught:
        ConfigMgr()
    assert message in str(caught.value)


def test_settings_that_are_no_json_are_not_carried_along_by_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {"/VideoAnalytics/config": '{"password": "secret"'}
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path, stored)))
    with pytest.raises(InvalidConfig, match="/VideoAnalytics/config: expected a JSON object: Expecting") as caught:
        ConfigMgr()
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
    assert "secret" not in str(caught.value)


def test_entry_or_value_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path, {"config": {}, "interfaces": INTERFACES})))
    ctx = ConfigMgr()
    with pytest.raises(InvalidConfig, match="config Servers: expected one of 's', or an index below 1, got 'default'"):
        ctx.get_server_by_name("default")
    with pytest.raises(InvalidConfig, match=r"config Clients\[0\]\.key: expected a value, got nothing"):
        ctx.get_client_by_index(0).get_interface_value("key")
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path, {"config": {}})))
    assert ConfigMgr().get_num_publishers() == 0


def test_secret_of_another_application_need_not_be_readable_but_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = in_directory(tmp_path)
    (store / "WebVisualizer").mkdir()
    (store / "WebVisualizer/private_key").write_bytes(b"\xff")  # as root nothing else is unreadable
    (store / "Publickeys/..data").write_text("not a key")
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(store))
    monkeypatch.setenv("DEV_MODE", "false")
    allowed = ConfigMgr().get_server_by_index(0).get_msgbus_config()["allowed_clients"]
    assert sorted(allowed) == sorted(pair.public for pair in PAIRS.values())
    (store / "VideoAnalytics/private_key").write_bytes(b"\xff")
    with pytest.raises(InvalidConfig, match=r"VideoAnalytics/private_key: .*cannot read it: expected text"):
        ConfigMgr()
    (store / "VideoAnalytics/private_key").write_text("\n")
    with pytest.raises(InvalidConfig, match=r"VideoAnalytics/private_key: .*expected a value, got an empty file"):
        ConfigMgr()


def test_link_to_where_one_may_not_look_is_left_out_unless_it_is_needed(request: pytest.FixtureRequest) -> None:
    folder = Path(tempfile.mkdtemp())  # `tmp_path` lets nobody but its owner in
    request.addfinalizer(lambda: shutil.rmtree(folder))
    store = in_directory(folder)
    forbidden = folder / "forbidden"
    forbidden.mkdir()
    (forbidden / "key").write_text("secret")
    (store / "Publickeys/Linked").symlink_to(forbidden / "key")
    forbidden.chmod(0)
    if os.getuid() == 0:  # whom nothing is forbidden
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, -1, follow_symlinks=False)
        os.seteuid(65534)
    try:
        files = FileStore(store, "VideoAnalytics")
        assert files.get_prefix("/Publickeys/") == {f"/Publickeys/{app}": pair.public for app, pair in PAIRS.items()}
        with pytest.raises(InvalidConfig, match=r"Publickeys/Linked: .*cannot read it: Permission denied"):
            files.get("/Publickeys/Linked")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        forbidden.chmod(0o700)


@pytest.mark.parametrize(
    ("own", "stored"),
    [
        ({"DEV_MODE": "false"}, {"DEV_MODE": "true"}),
        ({"DEV_MODE": "true"}, {"DEV_MODE": "false"}),
        ({}, {"AppName": "WebVisualizer"}),
        ({"ETCD_HOST": "h"}, {"ETCD_HOST": "another"}),
        ({"CONFIGMGR_KEY": "k"}, {"CONFIGMGR_KEY": "another"}),
        ({"KVStore": "etcd"}, {"KVStore": "another"}),
        ({"MSGBUS_REQUIRE_ENCRYPTION": "1"}, {"MSGBUS_REQUIRE_ENCRYPTION": "0"}),
    ],
)
def test_global_variable_that_contradicts_who_reads_it_is_refused(
    own: dict[str, str], stored: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    variables = {"PY_LOG_LEVEL": "DEBUG"} | stored
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path, STORED | {"/GlobalEnv/": variables})))
    before = dict(os.environ)
    with pytest.raises(InvalidConfig, match=f"/GlobalEnv/.{next(iter(stored))}: expected what the environment of the"):
        ConfigMgr()
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("", "v", "config /GlobalEnv/: expected the name of a variable, got ''"),
        ("A=B", "v", "config /GlobalEnv/: expected the name of a variable, got 'A=B'"),
        ("A\0", "v", r"config /GlobalEnv/: expected the name of a variable, got 'A\x00'"),
        ("\ud800", "v", r"config /GlobalEnv/: expected the name of a variable, got '\ud800'"),
        ("A", "secret\0", "config /GlobalEnv/.A: expected text that an environment can hold"),
        ("A", "secret\ud800", "config /GlobalEnv/.A: expected text that an environment can hold"),
    ],
)
def test_global_variable_that_no_environment_can_hold_leaves_it_as_it_was(
    name: str, value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"FIRST": "1", name: value}
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path, STORED | {"/GlobalEnv/": variables})))
    before = dict(os.environ)
    with pytest.raises(InvalidConfig) as caught:
        ConfigMgr()
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert dict(os.environ) == before


def test_global_variables_that_repeat_the_process_are_fine_and_those_that_add_to_it_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    repeated = {"AppName": "VideoAnalytics", "DEV_MODE": "False"}
    variables = repeated | {"ETCD_HOST": "h", "CONFIGMGR_KEY": "k", "KVStore": "etcd", "PY_LOG_LEVEL": "INFO"}
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path, STORED | {"/GlobalEnv/": variables})))
    monkeypatch.setenv("DEV_MODE", "false")
    before = dict(os.environ)
    assert not ConfigMgr().is_dev_mode()
    assert dict(os.environ) == before | {"PY_LOG_LEVEL": "INFO"}
    warned = [record.args for record in caplog.records if "is not used" in record.message]
    assert warned == [("ETCD_HOST",), ("CONFIGMGR_KEY",), ("KVStore",)]


def test_production_stays_production_when_the_environment_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(in_file(tmp_path)))
    monkeypatch.setenv("DEV_MODE", "false")
    monkeypatch.setattr("cfgmgr.config_manager._export", lambda _: monkeypatch.setenv("DEV_MODE", "true"))
    ctx = ConfigMgr()
    assert (os.environ["DEV_MODE"], ctx.is_dev_mode()) == ("true", False)
    config = ctx.get_publisher_by_name("default").get_msgbus_config()
    assert config["zmq_tcp_publish"]["server_secret_key"] == PAIRS["VideoAnalytics"].secret


@pytest.mark.parametrize("variable", ["AppName", "DEV_MODE"])
def test_variable_that_is_missing_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(InvalidConfig, match=f"config {variable}: expected the environment variable to be set"):
        ConfigMgr()


def test_another_store_than_etcd_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVStore", "redis")
    with pytest.raises(InvalidConfig, match="config KVStore: expected 'etcd', or CONFIGMGR_SOURCE to be set"):
        ConfigMgr()


def test_etcd_without_its_extra_says_what_to_install() -> None:
    code = "import sys; sys.modules['grpc'] = None; from cfgmgr.config_manager import ConfigMgr; ConfigMgr()"
    environment = os.environ | {"AppName": "x", "DEV_MODE": "true"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "etcd needs pip install 'eis-msgbus[etcd]', or set CONFIGMGR_SOURCE" in done.stderr


@pytest.mark.parametrize("store", [in_file, in_directory])
def test_change_of_a_file_calls_whoever_watches(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = store(tmp_path)
    monkeypatch.setenv("CONFIGMGR_SOURCE", str(path))
    seen: list[tuple[str, str, str]] = []
    caplog.set_level(logging.DEBUG, "cfgmgr")

    def refuse(key: str, _: str) -> None:
        raise RuntimeError(key)

    with closing(ConfigMgr()) as ctx:
        watch = ctx.get_watch_obj()
        watch.watch_config(refuse)
        watch.watch_config(lambda key, value: seen.append(("config", key, value)))
        watch.watch_interface(lambda key, value: seen.append(("interface", key, value)))
        watch.watch_prefix("/VideoAnalytics/", lambda key, value: seen.append(("prefix", key, value)))
        watch.watch("/Publickeys/New", lambda key, value: seen.append(("key", key, value)))
        changed = {"/VideoAnalytics/config": '{"queue_size": 20}', "/Publickeys/New": "k"}
        if path.is_dir():
            for key, value in changed.items():
                (path / key[1:]).write_text(value)
            (path / "VideoAnalytics/interfaces").write_text("")  # being written
        else:
            path.write_text("{")  # half written: nothing is known of it yet
            until(lambda: "cannot read it: expected a JSON object" in caplog.text)
            path.write_text(json.dumps(STORED | changed))
        until(lambda: len(seen) >= 3 and "the watch goes on" in caplog.text)
    assert sorted(seen) == [
        ("config", "/VideoAnalytics/config", '{"queue_size": 20}'),
        ("key", "/Publickeys/New", "k"),
        ("prefix", "/VideoAnalytics/config", '{"queue_size": 20}'),
    ]
    assert "the callback for /VideoAnalytics/config failed; the watch goes on" in caplog.text
