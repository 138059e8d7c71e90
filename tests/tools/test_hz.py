import json
from pathlib import Path

from tests.meeting import until
from tests.tools.process import msgbus, started

WHERE = ("-c", "bus.json")


def test_rates_of_each_topic_are_told_when_messages_come(folder: Path) -> None:
    (folder / "blob").write_bytes(bytes(100_000))
    address = ("-a", f"ipc://{folder}/sockets/all")
    with started(folder, "pub", "camera1", "n=1", "-b", "blob", "-n", "0", "--rate", "50", *address):
        until((folder / "sockets" / "all").exists)
        status, out, err = msgbus(folder, "hz", "camera", "--every", "2", "-n", "2", "--json", *address)
    assert (status, err) == (0, "")
    reports = [json.loads(line) for line in out.splitlines()]
    assert len(reports) == 2
    (topic,) = reports[1]["topics"]
    assert topic["name"] == "camera1"
    assert 0 < topic["messages_per_second"] < 75  # a busy machine may be slow, and then catches up
    assert abs(topic["megabytes_per_second"] - topic["messages_per_second"] * 0.1) < 0.01
    assert topic["latency_ms"] >= 0
    assert [report["lost"] for report in reports] == [0, 0]


def test_a_line_is_printed_for_people_when_json_is_not_asked_for(folder: Path) -> None:
    with started(folder, "pub", "camera1", "n=1", "-n", "0", "--rate", "50", *WHERE):
        until((folder / "sockets" / "camera1").exists)
        status, out, err = msgbus(folder, "hz", "camera1", "-n", "1", *WHERE)
    assert (status, err) == (0, "")
    assert out.startswith("camera1 ")
    assert "messages/s" in out


def test_it_is_told_when_nothing_comes(folder: Path) -> None:
    assert msgbus(folder, "hz", "camera1", "--every", "0.1", "-n", "1", *WHERE) == (0, "nothing came\n", "")
