"""`msgbus check` understands the file of a broker: alone, and with who connects to it."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eis.msgbus import keys
from eis.msgbus.tools import main
from eis.msgbus.tools.check.access import not_let_in
from eis.msgbus.tools.check.deployment import Deployment
from eis.msgbus.tools.check.link import Link, Where

ROOT = Path(__file__).resolve().parents[2]
BROKER, CAMERA, VIEWER, ECHO, OTHER = (keys.new_key_pair() for _ in range(5))

Config = dict[str, Any]
Change = Callable[[Config], object]


def at(port: int, server: keys.KeyPair, client: keys.KeyPair | None = None, **more: Any) -> Config:
    """Where somebody listens, or, with a client, connects."""
    where = {"host": "127.0.0.1", "port": port, **more}
    if client is None:
        return where | {"server_secret_key": server.secret}
    own = {"client_public_key": client.public, "client_secret_key": client.secret}
    return where | {"server_public_key": server.public} | own


def tcp(**entries: Any) -> Config:
    return {"type": "zmq_tcp", **entries}


GUARDED: dict[str, Config] = {
    "broker": {
        "frontend": tcp(clients={"camera": CAMERA.public}, zmq_tcp_publish=at(60514, BROKER)),
        "backend": tcp(clients={"viewer": VIEWER.public}, zmq_tcp_publish=at(60515, BROKER)),
        "services": {
            "echo": {
                "frontend": tcp(clients={"viewer": VIEWER.public}, echo=at(60516, BROKER)),
                "backends": [tcp(echo=at(60517, ECHO, BROKER))],
            }
        },
    },
    "camera": tcp(zmq_tcp_publish=at(60514, BROKER, CAMERA, brokered=True)),
    "viewer": tcp(camera1=at(60515, BROKER, VIEWER), echo=at(60516, BROKER, VIEWER)),
    "echo": tcp(clients={"broker": BROKER.public}, echo=at(60517, ECHO)),
}
FILES: dict[str, Config] = {
    "broker": {
        name: {"type": "zmq_ipc", "socket_dir": "sockets", "": {"socket_file": name}}
        for name in ("frontend", "backend")
    },
    "camera": {"type": "zmq_ipc", "socket_dir": "sockets", "camera1": {"socket_file": "frontend", "brokered": True}},
    "viewer": {"type": "zmq_ipc", "socket_dir": "sockets", "camera1": {"socket_file": "backend"}},
}


def setting(value: Any, *path: str) -> Change:
    """Return what sets one value; None takes it away."""

    def change(files: Config) -> None:
        *way, last = path
        for step in way:
            files = files[step]
        if value is None:
            del files[last]
        else:
            files[last] = value

    return change


# What is changed, then where something is found, and words of the finding.
PLANTED: dict[str, tuple[dict[str, Config], Change, str, str, str]] = {
    "no backend": (GUARDED, setting(None, "broker", "backend"), "broker", "backend", "expected an object, got nothing"),
    "a list without keys": (
        GUARDED,
        setting(None, "broker", "backend", "zmq_tcp_publish", "server_secret_key"),
        "broker",
        "backend.zmq_tcp_publish.server_secret_key",
        "without it everything is plain text",
    ),
    "a service without an entry": (
        GUARDED,
        setting(None, "broker", "services", "echo", "frontend", "echo"),
        "broker",
        "services.echo.frontend.echo",
        "expected an object with host and port, got nothing",
    ),
    "sides at one port": (
        GUARDED,
        setting(60514, "broker", "backend", "zmq_tcp_publish", "port"),
        "broker",
        "backend",
        "broker.json (frontend) listens at 127.0.0.1:60514 too",
    ),
    "a publisher at another port": (
        GUARDED,
        setting(60520, "camera", "zmq_tcp_publish", "port"),
        "camera",
        "zmq_tcp_publish",
        "nobody listens at 127.0.0.1:60520; broker.json listens at 127.0.0.1:60514: use the same address",
    ),
    "a publisher at the backend": (
        GUARDED,
        setting(60515, "camera", "zmq_tcp_publish", "port"),
        "camera",
        "zmq_tcp_publish",
        "is the backend of broker.json, to which subscribers connect; the frontend, for publishers, is at 127.0.0.1",
    ),
    "a publisher that is not brokered": (
        GUARDED,
        setting(at(60514, CAMERA), "camera", "zmq_tcp_publish"),
        "camera",
        "zmq_tcp_publish",
        'a publisher of the broker says "brokered": true',
    ),
    "a subscriber at the frontend": (
        GUARDED,
        setting(60514, "viewer", "camera1", "port"),
        "viewer",
        "camera1",
        "is the frontend of broker.json, to which publishers connect; the backend, for subscribers, is at 127.0.0.1",
    ),
    "a subscriber that is not listed": (
        GUARDED,
        setting({"viewer": OTHER.public}, "broker", "backend", "clients"),
        "broker",
        "backend",
        f"the key of viewer.json (camera1) is not among allowed_clients; add {VIEWER.public}",
    ),
    "a publisher that is not listed": (
        GUARDED,
        setting({"viewer": OTHER.public}, "broker", "frontend", "clients"),
        "broker",
        "frontend",
        f"the key of camera.json (zmq_tcp_publish) is not among allowed_clients; add {CAMERA.public}",
    ),
    "a topic that its subscriber may not read": (
        GUARDED,
        setting({"camera2": ["viewer"]}, "broker", "backend", "zmq_tcp_publish", "topics"),
        "broker",
        "backend.topics",
        "viewer.json subscribes to 'camera1', and its key may not read",
    ),
    "a key of another broker": (
        GUARDED,
        setting(OTHER.public, "viewer", "camera1", "server_public_key"),
        "viewer",
        "camera1",
        "server_public_key is not that of broker.json (backend)",
    ),
    "a service at another port": (
        GUARDED,
        setting(60518, "echo", "echo", "port"),
        "broker",
        "services.echo.backends[0]",
        "nobody listens at 127.0.0.1:60517; echo.json listens at 127.0.0.1:60518",
    ),
    "a service that does not let the broker in": (
        GUARDED,
        setting({"broker": OTHER.public}, "echo", "clients"),
        "echo",
        "echo",
        "the key of broker.json (services.echo.backends[0]) is not among allowed_clients",
    ),
    "a requester of another name": (
        GUARDED,
        setting(tcp(ecoh=at(60516, BROKER, VIEWER)), "viewer"),
        "viewer",
        "ecoh",
        "asks for 'ecoh' at 127.0.0.1:60516, where broker.json serves 'echo'",
    ),
    "a publisher at another socket file": (
        FILES,
        setting("front", "camera", "camera1", "socket_file"),
        "camera",
        "camera1",
        "nobody listens at",
    ),
    "a publisher that says not that it is brokered": (
        FILES,
        setting(None, "camera", "camera1", "brokered"),
        "camera",
        "camera1",
        'a publisher says "brokered": true',
    ),
}


@pytest.fixture
def checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[dict[str, Config]], tuple[list[Config], list[Config]]]:
    """Check files together, within this process; the findings, and who connects to whom."""
    monkeypatch.chdir(folder)

    def check(files: dict[str, Config]) -> tuple[list[Config], list[Config]]:
        for name, config in files.items():
            Path(f"{name}.json").write_text(json.dumps(config))
        with pytest.raises(SystemExit) as end:
            main(["check", *(f"{name}.json" for name in files), "--json"])
        out, _ = capsys.readouterr()
        told = json.loads(out)
        assert bool(end.value.code) is bool(told["findings"])
        return told["findings"], told["connections"]

    return check


Check = Callable[[dict[str, Config]], tuple[list[Config], list[Config]]]


@pytest.mark.parametrize("name", PLANTED)
def test_planted_mistake_is_found(name: str, checked: Check) -> None:
    files, change, file, where, words = PLANTED[name]
    wrong = copy.deepcopy(files)
    change(wrong)
    findings, _ = checked(wrong)
    told = {(each["file"], each["where"]): f"{each['problem']}; {each['advice']}" for each in findings}
    assert words in told[f"{file}.json", where], findings


def test_nothing_is_found_when_all_fit_and_it_is_told_who_connects(checked: Check) -> None:
    findings, connections = checked(GUARDED)
    ways = {(each["client"]["file"], each["client"]["where"]): each["server"]["where"] for each in connections}
    assert findings == []
    assert ways == {
        ("camera.json", "zmq_tcp_publish"): "frontend",
        ("viewer.json", "camera1"): "backend",
        ("viewer.json", "echo"): "services.echo.frontend",
        ("broker.json", "services.echo.backends[0]"): "echo",
    }


def test_nothing_is_found_with_socket_files_of_other_names_on_each_side(checked: Check) -> None:
    findings, connections = checked(FILES)
    assert findings == []
    assert [each["server"]["where"] for each in connections] == ["frontend", "backend"]


@pytest.mark.parametrize("files", [GUARDED, FILES], ids=["tcp", "ipc"])
def test_nothing_is_found_in_the_file_of_a_broker_alone(files: dict[str, Config], checked: Check) -> None:
    assert checked({"broker": files["broker"]})[0] == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "brokers").iterdir()), ids=lambda path: path.name)
def test_nothing_is_found_in_the_example_of_a_broker(path: Path, checked: Check) -> None:
    assert checked({"broker": json.loads(path.read_text())})[0] == []


def test_publisher_of_a_topic_that_its_key_may_not_publish_is_found() -> None:
    where = Where("127.0.0.1", 60514)
    known: Config = {"server_keys": frozenset([BROKER.public])}
    camera = Link("camera", "p", "publisher", "zmq_tcp", where, ("camera1",), True, own_key=CAMERA.public, **known)
    for topics, count in (("camera", 0), ("camera1", 0), ("camera10", 1), ("other", 1)):
        allowed = frozenset([CAMERA.public])
        rights: Config = {"allowed": allowed, "topics": {topics: allowed}, "side": "frontend"} | known
        broker = Link("broker", "frontend", "service", "zmq_tcp", where, **rights)
        found = list(not_let_in(Deployment((camera, broker), (), ("camera", "broker"))))
        assert [each.problem for each in found] == ["camera publishes 'camera1', and its key may not"] * count
