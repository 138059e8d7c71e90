import json
import stat
from pathlib import Path

import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from tests.tools.process import DEADLINE, msgbus


def test_a_pair_is_made_and_only_its_public_key_shown_when_new(tmp_path: Path) -> None:
    status, out, err = msgbus(tmp_path, "keys", "new", "camera")
    pair = keys.read_pair(tmp_path / "camera")
    assert (status, out, err) == (0, f"camera {pair.public}\n", "")
    assert stat.S_IMODE((tmp_path / "camera.secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("there", ["camera.secret", "viewer.public", "viewer.json"])
def test_nothing_is_made_when_one_of_the_files_is_there(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine")
    done = msgbus(tmp_path, "keys", "new", "camera", "viewer", "--topic", "a", "-a", "tcp://127.0.0.1:1")
    assert done == (1, "", f"msgbus: cannot make {there}: File exists\n")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_the_configurations_connect_when_made_for_topics(tmp_path: Path, tcp_port: int) -> None:
    arguments = ("etc/camera", "etc/viewer", "wall", "--topic", "camera1", "--topic", "camera2")
    (tmp_path / "etc").mkdir()
    assert msgbus(tmp_path, "keys", "new", *arguments, "-a", f"tcp://127.0.0.1:{tcp_port}")[0] == 0
    with (
        mb.MsgbusContext(tmp_path / "etc" / "camera.json") as bus,
        mb.MsgbusContext(tmp_path / "etc" / "viewer.json") as first,
        mb.MsgbusContext(tmp_path / "wall.json") as second,
    ):
        publisher = bus.new_publisher("camera2")
        subscribers = [other.new_subscriber("camera2") for other in (first, second)]
        publisher.wait_for_subscribers(2, timeout=DEADLINE * 1000)
        publisher.publish({"n": 1})
        assert [each.recv(timeout=DEADLINE * 1000).meta_data for each in subscribers] == [{"n": 1}] * 2
        assert publisher.stats.clients == {"viewer": 1, "wall": 1}


def test_the_configurations_connect_when_made_for_a_service(tmp_path: Path, tcp_port: int) -> None:
    arguments = ("robot", "panel", "--service", "reboot", "-a", f"tcp://127.0.0.1:{tcp_port}")
    assert msgbus(tmp_path, "keys", "new", *arguments)[0] == 0
    with mb.MsgbusContext(tmp_path / "robot.json") as bus, mb.MsgbusContext(tmp_path / "panel.json") as other:
        service, requester = bus.new_service("reboot"), other.get_service("reboot")
        requester.request({"n": 1})
        service.response(service.recv(timeout=DEADLINE * 1000))
        assert requester.recv(timeout=DEADLINE * 1000).meta_data == {"n": 1}


def test_no_configuration_holds_a_secret_when_made(tmp_path: Path) -> None:
    msgbus(tmp_path, "keys", "new", "camera", "viewer", "--topic", "a", "-a", "tcp://127.0.0.1:1")
    for name in ("camera", "viewer"):
        config = (tmp_path / f"{name}.json").read_text()
        assert keys.read_secret(tmp_path / f"{name}.secret") not in config
        assert '{\n      "file": ' in config


def test_public_keys_are_shown_when_files_of_either_kind_are_named(tmp_path: Path) -> None:
    pair = keys.new_key_pair()
    keys.write_pair(pair, tmp_path / "camera")
    names = ("camera", "camera.secret", "camera.public")
    expected = "".join(f"{name} {pair.public}\n" for name in names)
    assert msgbus(tmp_path, "keys", "show", *names) == (0, expected, "")
    assert json.loads(msgbus(tmp_path, "keys", "show", *names, "--json")[1]) == dict.fromkeys(names, pair.public)


def test_nothing_is_wrong_when_files_are_as_they_were_made(tmp_path: Path) -> None:
    keys.write_pair(keys.new_key_pair(), tmp_path / "camera")
    assert msgbus(tmp_path, "keys", "check", "camera", "camera.secret", "camera.public") == (0, "", "")


def test_every_file_that_is_wrong_is_told_when_checked(tmp_path: Path) -> None:
    for name in ("camera", "viewer"):
        keys.write_pair(keys.new_key_pair(), tmp_path / name)
    secret = keys.read_secret(tmp_path / "camera.secret")
    (tmp_path / "camera.secret").chmod(0o640)
    (tmp_path / "viewer.public").write_text(keys.new_key_pair().public)
    (tmp_path / "short.public").write_text("abc")
    status, out, err = msgbus(tmp_path, "keys", "check", "camera", "viewer", "short.public", "none.secret")
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        "msgbus: camera.secret: others have rights to it (mode 0640): chmod 600 camera.secret",
        "msgbus: viewer.public: expected the public key of viewer.secret, got another",
        "msgbus: short.public: expected a key of 40 characters in Z85, got 3 characters",
        "msgbus: none.secret: cannot read it: No such file or directory",
    ]
    assert secret not in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a", "--topic", "x"], "expected where the server is"),
        (["a", "-a", "tcp://x:1", "--topic", "x"], "expected a server and its clients"),
        (["a", "b", "-a", "tcp://x:1"], "expected one of the two, for -a"),
        (["a", "b", "-a", "tcp://x:1", "--topic", "x", "--service", "y"], "expected one of the two, for -a"),
        (["a", "b", "-a", "ipc://x/y", "--topic", "x"], "expected tcp://HOST:PORT, got 'ipc://x/y'"),
        ([], "Missing argument"),
    ],
)
def test_nothing_is_made_when_arguments_are_wrong(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    status, out, err = msgbus(tmp_path, "keys", "new", *arguments)
    assert (status, out) == (2, "")
    assert complaint in err
    assert list(tmp_path.iterdir()) == []
