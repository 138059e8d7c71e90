"""`msgbus check` finds each planted mistake, and nothing in what is right."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from eis.msgbus import keys
from eis.msgbus.tools import main
from tests.tools.deployment import write_deployment
from tests.tools.process import msgbus

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "examples" / "configs").iterdir())
TOGETHER = [
    ("tcp.json",),
    ("ipc.json", "ipc_shared_socket_file.json"),
    ("tcp_curve_publisher.json", "tcp_curve_subscriber.json"),
    ("tcp_curve_service.json", "tcp_curve_client.json"),
    ("tcp_curve_allowed_publisher.json", "tcp_curve_subscriber.json"),
    ("tcp_curve_allowed_service.json", "tcp_curve_client.json"),
    ("brokered_ipc_publisher.json", "brokered_ipc_subscriber.json"),
    ("brokered_tcp_publisher.json", "brokered_tcp_subscriber.json"),
]

SERVER, CLIENT, OTHER = keys.new_key_pair(), keys.new_key_pair(), keys.new_key_pair()
AT = {"host": "127.0.0.1", "port": 3000}
OF_CLIENT = {
    "server_public_key": SERVER.public,
    "client_public_key": CLIENT.public,
    "client_secret_key": CLIENT.secret,
}

Config = dict[str, Any]


def tcp(**entries: Any) -> Config:
    return {"type": "zmq_tcp", **entries}


def ipc(**entries: Any) -> Config:
    return {"type": "zmq_ipc", "socket_dir": "sockets", **entries}


def camera(**more: Any) -> Config:
    """A publisher with keys, which lets in the client."""
    at = AT | {"server_secret_key": SERVER.secret} | more
    return tcp(clients={"viewer": CLIENT.public}, allowed_clients=["viewer"], zmq_tcp_publish=at)


def interfaces(**lists: list[Config]) -> Config:
    return {"config": {}, "interfaces": lists}


def published(*topics: str, **more: Any) -> Config:
    entry = {"Name": "p", "Type": "zmq_tcp", "EndPoint": "0.0.0.0:65013", "Topics": list(topics)}
    return interfaces(Publishers=[entry | {"AllowedClients": ["*"]} | more])


def subscribed(*topics: str, **more: Any) -> Config:
    entry = {"Name": "s", "Type": "zmq_tcp", "EndPoint": "camera:65013", "Topics": list(topics)}
    return interfaces(Subscribers=[entry | {"PublisherAppName": "camera"} | more])


VIEWER = tcp(camera1=AT | OF_CLIENT)
PLAIN_CAMERA = tcp(zmq_tcp_publish=AT)
ECHO = AT | {"server_secret_key": SERVER.secret}
LONG = "x" * 100

# What is in camera.json and viewer.json, in which of them what is found, at which key, and words of the finding.
PLANTED: dict[str, tuple[Config, Config, str, str, str]] = {
    "an unknown key": (tcp(zmq_tcp_publsh=AT), VIEWER, "camera", "zmq_tcp_publsh", "did you mean 'zmq_tcp_publish'?"),
    "a port as text": (camera(port="3000"), VIEWER, "camera", "zmq_tcp_publish.port", "expected int, got str"),
    "a key that is none": (
        camera(server_secret_key="abc"),
        VIEWER,
        "camera",
        "zmq_tcp_publish.server_secret_key",
        "got 3 characters",
    ),
    "no host": (
        camera(),
        tcp(camera1={"port": 3000} | OF_CLIENT),
        "viewer",
        "camera1.host",
        "expected a host and a port, got no host",
    ),
    "two of three keys": (
        camera(),
        tcp(camera1=AT | {key: OF_CLIENT[key] for key in ("server_public_key", "client_public_key")}),
        "viewer",
        "camera1.client_secret_key",
        "expected all three keys of a client or none",
    ),
    "plain text where keys are required": (
        PLAIN_CAMERA | {"require_encryption": True},
        tcp(camera1=AT),
        "camera",
        "zmq_tcp_publish.server_secret_key",
        "require_encryption needs it",
    ),
    "another port": (
        camera(),
        tcp(camera1=AT | OF_CLIENT | {"port": 3001}),
        "viewer",
        "camera1",
        "nobody listens at 127.0.0.1:3001; camera.json listens at 127.0.0.1:3000",
    ),
    "another port without keys": (
        PLAIN_CAMERA,
        tcp(camera1=AT | {"port": 3001}),
        "viewer",
        "camera1",
        "nobody listens at 127.0.0.1:3001",
    ),
    "a listener on loopback": (
        camera(),
        tcp(camera1=AT | OF_CLIENT | {"host": "camera.local"}),
        "viewer",
        "camera1",
        "which only its own machine reaches: let it listen at 0.0.0.0",
    ),
    "two listeners at one port": (
        camera(),
        camera(),
        "viewer",
        "zmq_tcp_publish",
        "camera.json (zmq_tcp_publish) listens",
    ),
    "the key of another server": (
        camera(),
        tcp(camera1=AT | OF_CLIENT | {"server_public_key": OTHER.public}),
        "viewer",
        "camera1",
        f"server_public_key is not that of camera.json (zmq_tcp_publish); write {SERVER.public}",
    ),
    "a client that is not listed": (
        camera(allowed_clients=[OTHER.public]),
        VIEWER,
        "camera",
        "zmq_tcp_publish",
        f"the key of viewer.json (camera1) is not among allowed_clients; add {CLIENT.public}",
    ),
    "a client without keys": (camera(), tcp(camera1=AT), "viewer", "camera1", "encrypts, this does not"),
    "a server without keys": (PLAIN_CAMERA, VIEWER, "viewer", "camera1", "this encrypts, camera.json"),
    "a topic that the client may not read": (
        camera(topics={"camera": ["viewer"], "camera1": []}),
        VIEWER,
        "camera",
        "zmq_tcp_publish.topics",
        "viewer.json subscribes to 'camera1', and its key may not read",
    ),
    "another name of the service": (
        tcp(echo=ECHO),
        tcp(ecoh=AT | OF_CLIENT),
        "viewer",
        "ecoh",
        "asks for 'ecoh' at 127.0.0.1:3000, where camera.json serves 'echo'",
    ),
    "another mode": (
        ipc(camera1={"socket_file": "c"}),
        tcp(camera1=AT),
        "viewer",
        "camera1",
        "camera.json has camera1 over zmq_ipc: use the same type on both sides",
    ),
    "another socket file": (
        ipc(camera1={"socket_file": "a"}),
        ipc(camera1={"socket_file": "b"}),
        "viewer",
        "camera1",
        "camera1 has the socket file 'b', and in camera.json 'a'",
    ),
    "another directory": (ipc(), ipc(socket_dir="sockets2"), "viewer", "socket_dir", "no other application uses the"),
    "a directory that is too open": (
        ipc(socket_dir="open"),
        ipc(socket_dir="open"),
        "camera",
        "socket_dir",
        "chmod 2750",
    ),
    "a directory that cannot be made": (
        ipc(socket_dir="none/sockets"),
        ipc(socket_dir="none/sockets"),
        "camera",
        "socket_dir",
        "its parent is not there",
    ),
    "a path that is too long": (
        ipc(camera1={"socket_file": LONG}),
        ipc(camera1={"socket_file": LONG}),
        "viewer",
        "camera1",
        "and a socket at most 107",
    ),
    "queues larger than the memory": (
        camera() | {"queue_bytes": 2**45},
        VIEWER,
        "camera",
        "queue_bytes",
        "may wait in the queues and shared memory of 1 entries",
    ),
    "frames larger than the memory": (
        ipc(shared_memory={"max_bytes": 2**45}, camera1={}),
        ipc(),
        "camera",
        "queue_bytes",
        "may wait in the queues and shared memory of 1 entries",
    ),
    "messages larger than the queue": (
        camera() | {"max_message_bytes": 2**30},
        VIEWER | {"max_message_bytes": 2**30},
        "camera",
        "max_message_bytes",
        "two messages of max_message_bytes (1073741824) may always wait",
    ),
    "messages of another size": (
        camera(),
        VIEWER | {"max_message_bytes": 1000},
        "viewer",
        "max_message_bytes",
        "max_message_bytes is 1000, and in camera.json left out",
    ),
    "a name that begins another": (
        camera(),
        tcp(camera1=AT | OF_CLIENT, camera10=AT | OF_CLIENT),
        "viewer",
        "camera1",
        "who subscribes to 'camera1' gets 'camera10' too",
    ),
    "a topic that nobody publishes": (
        published("camera1"),
        subscribed("camera2"),
        "viewer",
        "Subscribers[0]",
        "nobody publishes 'camera2' at camera:65013; did you mean 'camera1'?",
    ),
    "published names that begin each other": (
        published("camera1", "camera10"),
        subscribed("camera1"),
        "camera",
        "Publishers[0]",
        "who subscribes to 'camera1' gets 'camera10' too",
    ),
    "an application that is not let in": (
        published("camera1", AllowedClients=["Dashboard"]),
        subscribed("camera1"),
        "camera",
        "Publishers[0].AllowedClients",
        "viewer (Subscribers[0]) connects here, and is not among AllowedClients; add 'viewer'",
    ),
    "an application that is not there": (
        published("camera1"),
        subscribed("camera1", PublisherAppName="Kamera"),
        "viewer",
        "Subscribers[0]",
        "no application 'Kamera' is here; here are camera, viewer",
    ),
    "an entry without topics": (
        published("camera1"),
        subscribed(),
        "viewer",
        "Subscribers[0].Topics",
        "expected a list of topics, got none",
    ),
    "another mode of an application": (
        published("camera1"),
        subscribed("camera1", Type="zmq_ipc", EndPoint="sockets"),
        "viewer",
        "Subscribers[0]",
        "camera has camera1 over zmq_tcp",
    ),
}
RIGHT: dict[str, tuple[Config, Config]] = {
    "keys": (camera(), VIEWER),
    "a service": (tcp(echo=ECHO), tcp(echo=AT | OF_CLIENT)),
    "plain text": (PLAIN_CAMERA, tcp(camera1=AT)),
    "a service without keys": (tcp(echo=AT), tcp(echo=AT)),
    "every address": (camera(host="0.0.0.0"), tcp(camera1=AT | OF_CLIENT | {"host": "camera.local"})),
    "topics": (camera(topics={"camera": ["viewer"]}), VIEWER),
    "two keys of a server": (
        camera(),
        tcp(camera1=AT | OF_CLIENT | {"server_public_key": [OTHER.public, SERVER.public]}),
    ),
    "ipc": (ipc(), ipc(camera1={"socket_file": "x"})),
    "a topic that begins others": (camera(), tcp(camera=AT | OF_CLIENT, camera1=AT | OF_CLIENT)),
    "applications": (published("camera1"), subscribed("camera")),
    "all topics": (published("camera1", AllowedClients=["viewer"]), subscribed("*")),
}

Checked = tuple[int, list[dict[str, Any]], str]


@pytest.fixture
def checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Config, Config], Checked]:
    """Check two configurations, within this process: there are many."""
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    monkeypatch.chdir(folder)

    def check(camera_json: Config, viewer_json: Config) -> Checked:
        Path("camera.json").write_text(json.dumps(camera_json))
        Path("viewer.json").write_text(json.dumps(viewer_json))
        with pytest.raises(SystemExit) as end:
            main(["check", "camera.json", "viewer.json", "--json"])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), json.loads(out)["findings"], out + err

    return check


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found(name: str, checked: Callable[[Config, Config], Checked]) -> None:
    camera_json, viewer_json, file, where, words = PLANTED[name]
    status, findings, everything = checked(camera_json, viewer_json)
    assert status == 1
    told = [
        f"{each['problem']}; {each['advice']}"
        for each in findings
        if (each["file"], each["where"]) == (f"{file}.json", where)
    ]
    assert [words in each for each in told] == [True], findings
    assert not any(pair.secret in everything for pair in (SERVER, CLIENT, OTHER))


@pytest.mark.parametrize(("camera_json", "viewer_json"), RIGHT.values(), ids=RIGHT)
def test_nothing_is_found_when_both_sides_fit(
    camera_json: Config, viewer_json: Config, checked: Callable[[Config, Config], Checked]
) -> None:
    assert checked(camera_json, viewer_json)[:2] == (0, [])


@pytest.mark.parametrize("names", [*((path.name,) for path in CONFIGS), *TOGETHER], ids=" ".join)
def test_nothing_is_found_in_the_examples(names: tuple[str, ...], folder: Path) -> None:
    status, _, err = msgbus(folder, "check", *(ROOT / "examples" / "configs" / name for name in names))
    assert (status, err) == (0, "")


def test_nothing_is_found_in_the_interfaces_of_real_applications_but_that_their_directory_is_not_here(
    folder: Path,
) -> None:
    shipped = json.loads((ROOT / "tests" / "applications" / "interfaces.json").read_text())
    for app, lists in shipped.items():
        (folder / app).mkdir()
        (folder / app / "config.json").write_text(json.dumps({"config": {}, "interfaces": lists}))
    files = [f"{app}/config.json" for app in shipped]
    _, out, _ = msgbus(folder, "check", *files)
    connections = out.splitlines()
    assert (
        "WebVisualizer Subscribers[0] -> VideoAnalytics Publishers[0]: zmq_tcp ia_video_analytics:65013" in connections
    )
    assert len(connections) == len(set(connections)) == 8
    _, out, _ = msgbus(folder, "check", *files, "--json")
    assert {finding["where"] for finding in json.loads(out)["findings"]} <= {"socket_dir"}


def test_a_secret_that_others_may_read_is_found(folder: Path) -> None:
    (folder / "camera.secret").write_text(SERVER.secret)
    (folder / "camera.secret").chmod(0o644)
    (folder / "camera.json").write_text(json.dumps(camera(server_secret_key={"file": "camera.secret"})))
    status, _, err = msgbus(folder, "check", "camera.json")
    assert status == 1
    assert "chmod 600 camera.secret" in err
    assert SERVER.secret not in err


def test_keys_are_looked_up_when_files_are_named(folder: Path) -> None:
    assert msgbus(folder, "keys", "new", "camera", "viewer", "--topic", "camera1", "-a", "tcp://127.0.0.1:3000")[0] == 0
    public = keys.read_public(folder / "viewer.public")
    line = f"viewer.json camera1 -> camera.json zmq_tcp_publish: zmq_tcp 127.0.0.1:3000, key {public}\n"
    assert msgbus(folder, "check", "camera.json", "viewer.json") == (0, line, "")


def test_keys_are_compared_when_applications_have_a_store(folder: Path) -> None:
    (folder / "camera.json").write_text(json.dumps(published("camera1", AllowedClients=["viewer"])))
    (folder / "viewer.json").write_text(json.dumps(subscribed("camera1")))
    store = {
        "/Publickeys/camera": SERVER.public,
        "/Publickeys/viewer": CLIENT.public,
        "/camera/private_key": SERVER.secret,
        "/viewer/private_key": CLIENT.secret,
    }
    (folder / "keys.json").write_text(json.dumps(store))
    assert msgbus(folder, "check", "camera.json", "viewer.json", "--keys", "keys.json")[0::2] == (0, "")
    (folder / "keys.json").write_text(json.dumps(store | {"/camera/private_key": OTHER.secret}))
    status, _, err = msgbus(folder, "check", "camera.json", "viewer.json", "--keys", "keys.json")
    assert status == 1
    assert "viewer.json: Subscribers[0]: server_public_key is not that of camera (Publishers[0])" in err


def test_the_name_of_an_application_is_that_of_its_directory_when_the_file_is_a_config(folder: Path) -> None:
    for name, config in {"camera": published("camera1"), "viewer": subscribed("camera1")}.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    expected = "viewer Subscribers[0] -> camera Publishers[0]: zmq_tcp camera:65013\n"
    assert msgbus(folder, "check", "camera/config.json", "viewer/config.json") == (0, expected, "")


def test_boxes_are_told_apart_when_they_listen_at_the_same_port(folder: Path) -> None:
    everywhere = {"host": "0.0.0.0", "port": 3000}
    of_other = OF_CLIENT | {"server_public_key": OTHER.public}
    configs = {
        "first": tcp(zmq_tcp_publish=everywhere | {"server_secret_key": SERVER.secret}),
        "second": tcp(zmq_tcp_publish=everywhere | {"server_secret_key": OTHER.secret}),
        "viewer": tcp(
            a={"host": "first.local", "port": 3000} | OF_CLIENT, b={"host": "second.local", "port": 3000} | of_other
        ),
    }
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    status, out, err = msgbus(folder, "check", *(f"{name}.json" for name in configs))
    assert (status, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "viewer.json a -> first.json zmq_tcp_publish",
        "viewer.json b -> second.json zmq_tcp_publish",
    ]
    status, _, err = msgbus(folder, "check", "first.json", "second.json")
    assert status == 1
    assert "first.json (zmq_tcp_publish) listens at 0.0.0.0:3000 too; give one of them another address" in err


def test_the_deployment_is_drawn_when_asked(folder: Path) -> None:
    for name, config in {"camera": camera(), "viewer": VIEWER}.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    status, out, err = msgbus(folder, "check", "camera.json", "viewer.json", "--graph", "-")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "flowchart LR",
        '  a0["camera.json"]',
        '  p1(["zmq_tcp 127.0.0.1:3000"])',
        '  a2["viewer.json"]',
        '  a0 -->|"all topics (CURVE)"| p1',
        '  p1 -->|"camera1 (CURVE)"| a2',
    ]


def test_a_name_cannot_give_orders_to_the_terminal_when_the_deployment_is_drawn(folder: Path) -> None:
    (folder / "other.json").write_text(json.dumps(ipc(**{"\x1b[2J\n\u202ea": {"socket_file": "a"}})))
    status, out, _ = msgbus(folder, "check", "other.json", "--graph", "-")
    assert status == 0
    assert r"\x1b[2J\n\u202ea" in out
    assert all(line.isprintable() for line in out.splitlines())


def boxes(text: str) -> list[tuple[float, float, float, float]]:
    """The rectangles of a drawing, but for its background."""
    found = re.findall(r'<rect x="([\d.-]+)" y="([\d.-]+)" width="([\d.]+)" height="([\d.]+)"', text)
    return [tuple(map(float, numbers)) for numbers in found]  # type: ignore[misc]  # the pattern has four groups


def test_a_drawing_is_that_of_the_documentation_when_the_deployment_is(folder: Path) -> None:
    names = write_deployment(folder)
    msgbus(folder, "check", *names, "--graph", "deployment.svg")
    drawn = (folder / "deployment.svg").read_text()
    assert drawn == (ROOT / "docs" / "images" / "deployment.svg").read_text()  # `make plots` renews it
    shapes = list(ET.fromstring(drawn))  # noqa: S314  # our own
    texts = [shape.text for shape in shapes if shape.tag.endswith("text")]
    assert {"ingestion", "visualizer", "zmq_ipc /run/eis/camera1", "defects (CURVE)"} <= set(texts)
    width, height = (float(re.search(rf'{side}="(\d+)"', drawn)[1]) for side in ("width", "height"))  # type: ignore[index]
    placed = boxes(drawn)
    assert len(placed) == 11
    assert all(x >= 0 and y >= 0 and x + wide <= width and y + high <= height for x, y, wide, high in placed)
    for x, y, wide, high in placed:
        over = [
            each
            for each in placed
            if x < each[0] + each[2] and each[0] < x + wide and y < each[1] + each[3] and each[1] < y + high
        ]
        assert len(over) == 1  # itself


def test_the_way_of_messages_is_open_when_a_configuration_does_not_say_it(folder: Path) -> None:
    (folder / "other.json").write_text(json.dumps(ipc(**{"<a&b>": {"socket_file": "a"}})))
    status, out, _ = msgbus(folder, "check", "other.json", "--graph", "other.svg")
    assert (status, out) == (0, "")
    drawn = (folder / "other.svg").read_text()
    assert ">&lt;a&amp;b&gt;</text>" in drawn
    assert 'stroke-dasharray="2 4"' in drawn
    assert '-4.5v9z"' not in drawn  # no head of an arrow


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [("x.png", 2, "expected FILE.svg, FILE.mmd or -, got 'x.png'"), ("no/x.svg", 1, "cannot write no/x.svg")],
)
def test_it_is_said_when_a_drawing_cannot_be_made(path: str, status: int, words: str, folder: Path) -> None:
    found, _, err = msgbus(folder, "check", "bus.json", "--graph", path)
    assert found == status
    assert words in " ".join(err.split())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot read it: No such file or directory"),
        ("{", "expected JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "got list"),
    ],
)
def test_the_status_is_2_when_a_file_is_unusable(text: str | None, problem: str, folder: Path) -> None:
    if text is not None:
        (folder / "x.json").write_text(text)
    status, out, err = msgbus(folder, "check", "bus.json", "x.json")
    assert (status, out) == (2, "")
    assert err.startswith("msgbus: x.json: ")
    assert problem in err
