"""The shapes of real EIS/EII applications: processes that start from the shipped interfaces, by way of ConfigMgr."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from eis.msgbus import keys

pytestmark = pytest.mark.once

PROGRAMS = Path(__file__).parent / "applications"
DEADLINE = 60.0  # seconds; a busy machine is no bug
NAMES = (
    "VideoIngestion",
    "VideoAnalytics",
    "WebVisualizer",
    "SWTriggerUtility",
    "ZmqBroker",
    "EmbPublisher",
    "EmbSubscriber",
    "Telegraf",
    "ImageStore",
    "RestDataExport",
)
PAIRS = {name: keys.new_key_pair() for name in NAMES}
SHIPPED = json.loads((PROGRAMS / "interfaces.json").read_text())

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(params=[False, True], ids=["development", "production"])
def production(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def start(tmp_path: Path, *, production: bool) -> Iterator[Start]:
    """Start an application: its program, its name, its settings, and the endpoints that its host overrides."""
    with ExitStack() as running:

        def started(program: str, app: str, config: dict[str, Any], **environment: str) -> subprocess.Popen[str]:
            store = {f"/{app}/config": config, f"/{app}/interfaces": SHIPPED[app]}
            if production:
                own = PAIRS.get(app) or keys.new_key_pair()  # a stranger's is known to itself alone
                store |= {f"/Publickeys/{name}": pair.public for name, pair in (PAIRS | {app: own}).items()}
                store[f"/{app}/private_key"] = own.secret
            file = tmp_path / f"{app}.json"
            file.write_text(json.dumps(store))
            named = {"AppName": app, "DEV_MODE": str(not production), "CONFIGMGR_SOURCE": str(file)}
            process = subprocess.Popen(
                [sys.executable, "-W", "error", str(PROGRAMS / program)],
                env=os.environ | named | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            running.callback(process.communicate, timeout=DEADLINE)
            running.callback(process.kill)
            return process

        yield started


def printed(process: subprocess.Popen[str]) -> list[Any]:
    """Wait for the end of a program, and return what it printed, line by line."""
    out, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def test_video_goes_from_ingestion_by_analytics_to_the_visualizer(
    start: Start, socket_dir: Path, free_ports: Callable[[int], list[int]]
) -> None:
    commands, results = (f"127.0.0.1:{port}" for port in free_ports(2))
    count, profiled = {"frames": 20}, {"PROFILING_MODE": "true"}
    visualizer = start("web_visualizer.py", "WebVisualizer", count, SUBSCRIBER_default_ENDPOINT=results)
    analytics_at = {"PUBLISHER_ENDPOINT": results, "SUBSCRIBER_ENDPOINT": str(socket_dir)}
    analytics = start("video_analytics.py", "VideoAnalytics", count, **analytics_at, **profiled)
    ingestion_at = {"PUBLISHER_default_ENDPOINT": str(socket_dir), "SERVER_default_ENDPOINT": commands}
    ingestion = start("video_ingestion.py", "VideoIngestion", count, **ingestion_at, **profiled)
    trigger = start("sw_trigger.py", "SWTriggerUtility", {}, CLIENT_ENDPOINT=commands)
    assert printed(trigger) == [{"reply_payload": {"status_code": 0, "err": "", "return_values": ""}}]
    shown = printed(visualizer)
    assert [printed(analytics), printed(ingestion)] == [[], []]
    for number, (name, metadata, size, first) in enumerate(shown):
        times = [
            metadata[key]
            for key in ("VideoIngestion_publisher_ts", "VideoAnalytics_subscriber_ts", "VideoAnalytics_publisher_ts")
        ]
        assert (name, metadata["frame_number"], size, first) == ("camera1_stream_results", number, 388_800, number)
        assert metadata["defects"] == [{"type": 1, "tl": [0, 0], "br": [number, 9]}]
        assert times == sorted(times)
        assert all(type(each) is int for each in times)
    assert len(shown) == 20


def test_points_go_through_the_broker_by_the_prefix_of_their_topic(
    start: Start, free_ports: Callable[[int], list[int]]
) -> None:
    frontend, backend = (f"127.0.0.1:{port}" for port in free_ports(2))
    broker = start("zmq_broker.py", "ZmqBroker", {}, SUBSCRIBER_ENDPOINT=frontend, PUBLISHER_ENDPOINT=backend)
    assert broker.stdout is not None
    assert broker.stdout.readline() == "ready\n"
    expected = {"": 3 * 8}
    everything = start("subscriber.py", "EmbSubscriber", {"expected": expected}, SUBSCRIBER_ENDPOINT=backend)
    expected = {"topic-pfx1": 3 * 2, "topic-pfx3": 3 * 2}
    some = start("subscriber.py", "Telegraf", {"expected": expected}, SUBSCRIBER_ENDPOINT=backend)
    endings = ["", "/cpu"]
    topics = [f"topic-pfx{n}{ending}" for n in (1, 2, 3, 4) for ending in endings]
    subscribers = {topic: 2 if topic[9] in "13" else 1 for topic in topics}
    settings = {"endings": endings, "points": 3, "subscribers": subscribers}
    publisher = start("publisher.py", "EmbPublisher", settings, PUBLISHER_TestPub_ENDPOINT=frontend)
    assert printed(publisher) == []
    [got] = printed(some)
    assert got == {
        prefix: [[prefix + ending, number] for number in range(3) for ending in endings]
        for prefix in ("topic-pfx1", "topic-pfx3")
    }
    assert printed(everything) == [{"": [[topic, number] for number in range(3) for topic in topics]}]


def test_image_store_hands_out_a_frame_by_its_handle(start: Start, tcp_port: int) -> None:
    address = f"127.0.0.1:{tcp_port}"
    store = start("image_store.py", "ImageStore", {}, SERVER_ImageStore_ENDPOINT=address)
    export = start("rest_data_export.py", "RestDataExport", {}, CLIENT_ImageStore_ENDPOINT=address)
    frame, none = printed(export)
    assert frame == [{"img_handle": "a1b2c3d4e5"}, [6_220_800, "22"]]
    assert none == [{"error": "no frame unknown"}, None]
    assert printed(store) == []


def test_several_topics_share_a_socket_file(start: Start, socket_dir: Path) -> None:
    one_file = {"PUBLISHER_TYPE": "zmq_ipc", "SUBSCRIBER_TYPE": "zmq_ipc"}
    one_file |= dict.fromkeys(("PUBLISHER_ENDPOINT", "SUBSCRIBER_ENDPOINT"), f"{socket_dir}, points")
    topics = [f"topic-pfx{n}" for n in (1, 2, 3, 4)]
    some = start("subscriber.py", "Telegraf", {"expected": {"topic-pfx1": 3, "topic-pfx3": 3}}, **one_file)
    everything = start("subscriber.py", "EmbSubscriber", {"expected": {"": 12}}, **one_file)
    subscribers = {topic: 2 if topic[9] in "13" else 1 for topic in topics}
    publisher = start("publisher.py", "Files", {"points": 3, "subscribers": subscribers}, **one_file)
    assert printed(publisher) == []
    assert printed(some) == [
        {topic: [[topic, number] for number in range(3)] for topic in ("topic-pfx1", "topic-pfx3")}
    ]
    assert printed(everything) == [{"": [[topic, number] for number in range(3) for topic in topics]}]


def test_application_whose_key_is_unknown_is_let_in_in_development_only(
    start: Start, tcp_port: int, *, production: bool
) -> None:
    address = f"127.0.0.1:{tcp_port}"
    store = start("image_store.py", "ImageStore", {}, SERVER_ImageStore_ENDPOINT=address)
    stranger = start("rest_data_export.py", "Stranger", {}, CLIENT_ImageStore_ENDPOINT=address)
    out, _ = stranger.communicate(timeout=DEADLINE)
    assert (stranger.returncode, len(out.splitlines())) == ((1, 0) if production else (0, 2))
    assert printed(store) == []
