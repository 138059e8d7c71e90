"""`cfgmgr.config_manager` with a real etcd: how it is found, what it lets whom read, and that no change is lost."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cfgmgr.config_manager import ConfigMgr
from cfgmgr.etcd import address_of, credentials_of
from eis.msgbus import InvalidConfig, keys
from tests.etcd import Certificates, Etcd
from tests.meeting import until

pytestmark = pytest.mark.once

PAIR = keys.new_key_pair()
SERVER = {"Name": "s", "Type": "zmq_tcp", "EndPoint": "0.0.0.0:1", "AllowedClients": ["*"]}
VARIABLES = ("AppName", "DEV_MODE", "ETCD_HOST", "ETCD_CLIENT_PORT", "ETCD_ENDPOINT", "ETCD_PREFIX")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in (*VARIABLES, "CONFIGMGR_SOURCE", "FROM_GLOBAL_ENV"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AppName", "App")
    monkeypatch.setenv("DEV_MODE", "true")
    yield
    os.environ.pop("FROM_GLOBAL_ENV", None)


Running = Callable[..., Etcd]


@pytest.fixture
def etcd(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Running]:
    running: list[Etcd] = []

    def run(certificates: Certificates | None = None) -> Etcd:
        running.append(Etcd(tmp_path, free_ports(2), certificates))
        return running[-1]

    yield run
    for each in running:
        each.stop()


def fill(etcd: Etcd, prefix: str = "", **config: Any) -> None:
    etcd.put(f"{prefix}/GlobalEnv/", '{"FROM_GLOBAL_ENV": "yes"}')
    etcd.put(f"{prefix}/App/config", json.dumps(config))
    etcd.put(f"{prefix}/App/interfaces", json.dumps({"Servers": [SERVER]}))
    etcd.put(f"{prefix}/App/private_key", PAIR.secret)
    etcd.put(f"{prefix}/Publickeys/App", PAIR.public)
    etcd.put(f"{prefix}/Other/private_key", "another's secret")


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "localhost:2379"),
        ({"ETCD_HOST": "h", "ETCD_CLIENT_PORT": "5"}, "h:5"),
        ({"ETCD_HOST": "::1"}, "[::1]:2379"),
        ({"ETCD_HOST": "h", "ETCD_ENDPOINT": "e:32379"}, "e:32379"),
    ],
)
def test_etcd_is_where_the_environment_says(environment: dict[str, str], address: str) -> None:
    assert address_of(environment) == address


def test_certificates_are_where_the_containers_of_the_original_have_them(tmp_path: Path) -> None:
    there = tmp_path / "there.pem"
    there.write_text("")
    environment = {"CONFIGMGR_CACERT": "", "CONFIGMGR_KEY": ""}  # empty is not set
    for variable, path in {
        "CONFIGMGR_CACERT": "/run/secrets/rootca/cacert.pem",
        "CONFIGMGR_KEY": "/run/secrets/App/App_client_key.pem",
        "CONFIGMGR_CERT": "/run/secrets/App/App_client_certificate.pem",
    }.items():
        with pytest.raises(InvalidConfig, match=f"config {variable}: cannot read {path}: No such file"):
            credentials_of(environment, "App")
        environment[variable] = str(there)


def test_changes_come_in_order_and_none_is_lost_while_etcd_is_away(
    etcd: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = etcd()
    fill(server, "/eii", n=0)
    monkeypatch.setenv("ETCD_ENDPOINT", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("ETCD_PREFIX", "/eii")
    seen: list[tuple[str, str]] = []
    under: list[str] = []

    def config(n: int) -> str:
        return json.dumps({"n": n})

    with closing(ConfigMgr()) as ctx:
        assert (ctx.get_app_config().get_dict(), os.environ["FROM_GLOBAL_ENV"]) == ({"n": 0}, "yes")
        assert ctx.get_server_by_name("s").get_msgbus_config() == {
            "type": "zmq_tcp",
            "s": {"host": "0.0.0.0", "port": 1},
        }
        server.put("/eii/App/config", config(1))  # before anybody watches
        watch = ctx.get_watch_obj()
        watch.watch_config(lambda key, value: seen.append((key, value)))
        watch.watch_prefix("/App/", lambda key, _: under.append(key))
        until(lambda: len(seen) == 1)
        server.put("/eii/App/config", config(2))
        server.put("/eii/Apple/config", config(2))  # begins with another prefix
        server.put("/eii/App/interfaces", "{}")
        until(lambda: len(seen) == 2 and len(under) == 3)
        server.stop()
        server.start()
        server.put("/eii/App/config", config(3))
        server.delete("/eii/App/config")
        server.put("/eii/App/config", config(4))
        until(lambda: len(seen) == 4 and len(under) == 5)
        assert seen == [("/App/config", config(n)) for n in (1, 2, 3, 4)]
        assert under == ["/App/config", "/App/config", "/App/interfaces", "/App/config", "/App/config"]
        server.stop()
        server.start()
        server.put("/eii/App/config", config(5))
        server.put("/eii/App/config", config(6))
        server.compact()
        until(lambda: seen[-1] == ("/App/config", config(6)))
        server.stop()
        server.start("new")  # all data are gone, and the revisions begin anew
        server.put("/eii/App/config", config(7))
        until(lambda: seen[-1] == ("/App/config", config(7)))
    lost = "the watch of /eii/App/config is made again: "
    warned = [record.levelname for record in caplog.records if record.message.startswith(lost)]
    assert warned[:2] == ["WARNING", "WARNING"]  # the second time anew, for it had been well


def test_production_has_certificates_and_reads_what_its_user_may(
    etcd: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(tmp_path, "App", "Stranger")
    server = etcd(certificates)
    fill(server, a=1)
    server.grant("App", "/App/", "/Publickeys/", "/GlobalEnv/")
    server.enable_users()
    monkeypatch.setattr("cfgmgr.etcd._PAUSES", (0.01,))
    caplog.set_level(logging.DEBUG, "cfgmgr")
    for name, value in (server.environment | certificates.environment("App") | {"DEV_MODE": "false"}).items():
        monkeypatch.setenv(name, value)
    seen: list[str] = []
    with closing(ConfigMgr()) as ctx:
        config = ctx.get_server_by_name("s").get_msgbus_config()
        assert config["s"] == {"host": "0.0.0.0", "port": 1, "server_secret_key": PAIR.secret}
        assert config["allowed_clients"] == [PAIR.public]
        ctx.get_watch_obj().watch_config(lambda _, value: seen.append(value))
        ctx.get_watch_obj().watch("/Other/private_key", lambda _, value: seen.append(value))
        until(lambda: caplog.text.count("etcd ends the watch of /Other/private_key: ") >= 3)
        refused = [record.levelname for record in caplog.records if "/Other/private_key" in record.message]
        assert (refused[:1], set(refused[1:])) == (["WARNING"], {"DEBUG"})
        server.put("/Other/private_key", "another's new secret")
        server.put("/App/config", '{"a": 2}')
        until(lambda: seen == ['{"a": 2}'])
    monkeypatch.setenv("AppName", "Other")
    with pytest.raises(InvalidConfig, match=r"etcd 127.0.0.1:\d+: cannot read '/Other/config': .*permission denied"):
        ConfigMgr()
    monkeypatch.setenv("AppName", "App")
    for name, value in certificates.environment("Stranger").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfig, match="cannot read '/GlobalEnv/'"):
        ConfigMgr()


def test_certificate_that_cannot_be_read_or_is_not_trusted_lets_nothing_be_read(
    etcd: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cfgmgr.etcd._PATIENCE", 1.0)
    monkeypatch.setenv("DEV_MODE", "false")
    with pytest.raises(InvalidConfig, match=r"CONFIGMGR_CACERT: cannot read /run/secrets/rootca/cacert\.pem"):
        ConfigMgr()
    certificates = Certificates(tmp_path, "App")
    server = etcd(certificates)
    fill(server)
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other", "App")
    for name, value in (server.environment | other.environment("App")).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfig, match="cannot read '/GlobalEnv/'"):
        ConfigMgr()
    for name, value in (other.environment("App") | {"CONFIGMGR_CACERT": str(tmp_path / "ca.pem")}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfig, match="cannot read '/GlobalEnv/'"):
        ConfigMgr()
    monkeypatch.setenv("DEV_MODE", "true")
    with pytest.raises(InvalidConfig, match="cannot read '/GlobalEnv/'"):
        ConfigMgr()


def test_etcd_that_is_not_there_is_named(tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cfgmgr.etcd._PATIENCE", 0.5)
    monkeypatch.setenv("ETCD_ENDPOINT", f"127.0.0.1:{tcp_port}")
    with pytest.raises(InvalidConfig, match=f"config etcd 127.0.0.1:{tcp_port}: cannot read '/GlobalEnv/'"):
        ConfigMgr()


def test_program_ends_quietly_with_a_watch_that_goes_on(etcd: Running) -> None:
    server = etcd()
    fill(server)
    code = "import cfgmgr.config_manager as cfg; w = cfg.ConfigMgr().get_watch_obj(); w.watch_prefix('/App/', print)"
    command = [sys.executable, "-W", "error", "-c", code]
    environment = os.environ | server.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
