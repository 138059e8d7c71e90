"""The times that the original's profilers read in the metadata of messages."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import aio
from tests.hub import new_hub

KEYS = {"VideoAnalytics_publisher_ts", "VideoAnalytics_subscriber_ts"}
BIG = 2**80


@pytest.fixture
def profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILING_MODE", "True")
    monkeypatch.setenv("AppName", "VideoAnalytics")


def now() -> int:
    return time.time_ns() // 1_000_000


def passed(message: Any, config: dict[str, Any] | None = None, **how: Any) -> mb.MsgEnvelope[Any]:
    with mb.MsgbusContext(config or new_hub()) as bus:
        subscriber, publisher = bus.new_subscriber("t", **how), bus.new_publisher("t")
        publisher.wait_for_subscribers(1, timeout=10_000)
        publisher.publish(message)
        return subscriber.recv(timeout=10_000)


@pytest.mark.usefixtures("profiled")
@pytest.mark.parametrize("native", [True, False])
def test_times_are_added_on_both_sides_and_the_callers_dict_stays_as_it_was(socket_dir: Path, *, native: bool) -> None:
    message = {"img_handle": "a1", "n": BIG, "f": 1.0}
    before, blob = now(), bytes(300_000)
    config = {"type": "zmq_ipc", "socket_dir": str(socket_dir), "native": native}
    envelope = passed((message, blob, b"second"), config)
    assert message == {"img_handle": "a1", "n": BIG, "f": 1.0}
    metadata = dict(envelope.meta_data)
    times = [metadata.pop(f"VideoAnalytics_{side}_ts") for side in ("publisher", "subscriber")]
    assert before <= times[0] <= times[1] <= now()
    assert (metadata, str(metadata["f"])) == (message, "1.0")
    assert envelope.blob == [blob, b"second"]


@pytest.mark.usefixtures("profiled")
def test_time_of_an_earlier_passage_is_replaced() -> None:
    again = passed({"VideoAnalytics_publisher_ts": 5, "VideoIngestion_publisher_ts": 7}).meta_data
    assert again["VideoIngestion_publisher_ts"] == 7
    assert again["VideoAnalytics_publisher_ts"] > 5


@pytest.mark.usefixtures("profiled")
def test_message_without_metadata_and_metadata_of_a_type_get_no_time() -> None:
    @dataclass
    class Result:
        n: int

    assert passed(b"blob").meta_data is None
    assert passed(Result(5), type=Result).meta_data == Result(5)
    assert set(passed(Result(5)).meta_data) == {"n"} | KEYS


@pytest.mark.usefixtures("profiled")
def test_asyncio_has_the_times_too() -> None:
    async def main() -> set[str]:
        async with aio.MsgbusContext(new_hub()) as bus:
            subscriber, publisher = bus.new_subscriber("t", keep_last=1), bus.new_publisher("t")
            publisher.publish({})
            return set((await subscriber.recv(timeout=10)).meta_data)

    assert asyncio.run(main()) == KEYS


@pytest.mark.usefixtures("profiled")
def test_requests_and_replies_get_no_time() -> None:
    with mb.MsgbusContext(new_hub()) as bus:
        service, requester = bus.new_service("s"), bus.get_service("s")
        requester.request({"n": 1})
        assert service.recv(timeout=10_000).meta_data == {"n": 1}
        service.response({"n": 2})
        assert requester.recv(timeout=10_000).meta_data == {"n": 2}


@pytest.mark.parametrize("mode", ["", "false", "1"])
def test_nothing_is_added_and_nothing_is_in_the_way_without_the_mode(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROFILING_MODE", mode)
    monkeypatch.setenv("AppName", "VideoAnalytics")
    assert passed({"n": 1}).meta_data == {"n": 1}
    with mb.MsgbusContext(new_hub()) as bus:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        assert publisher._send_frames == publisher._channel.send
        assert subscriber._keep == subscriber._ready.append


def test_nothing_is_added_and_it_is_told_where_the_application_has_no_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PROFILING_MODE", "true")
    monkeypatch.delenv("AppName", raising=False)
    assert passed({"n": 1}).meta_data == {"n": 1}
    assert "PROFILING_MODE is true, but AppName is not set" in caplog.text
