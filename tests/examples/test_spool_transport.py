"""The example transport: found by its entry point, between two processes, and channel by channel."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus import transports
from tests.examples.script import EXAMPLES
from tests.meeting import DEADLINE, threads, until

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")

PUBLISH = """
    import sys
    import eis.msgbus as mb

    with mb.MsgbusContext({"type": "spool", "spool_dir": sys.argv[1]}) as bus:
        publisher = bus.new_publisher("camera1")
        publisher.wait_for_subscribers(1, timeout=20_000)
        for number in range(300):
            publisher.publish(({"n": number}, b"pixels"))
        assert publisher.stats.dropped == 0
"""


@pytest.fixture
def site(socket_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the example as a package of its own, as pip would."""
    shutil.copy(EXAMPLES / "spool_transport.py", socket_dir)
    info = socket_dir / "spool_transport-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spool_transport\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[eis.msgbus.transports]\nspool = spool_transport:SpoolTransport\n")
    monkeypatch.syspath_prepend(str(socket_dir))
    transports._entry_points.cache_clear()
    yield socket_dir
    transports._entry_points.cache_clear()
    sys.modules.pop("spool_transport", None)


@pytest.fixture
def config(site: Path) -> dict[str, Any]:
    return {"type": "spool", "spool_dir": str(site / "spool")}


@pytest.fixture
def bus(config: dict[str, Any]) -> Iterator[mb.MsgbusContext]:
    with mb.MsgbusContext(config) as bus:
        yield bus


def test_another_process_publishes_and_every_message_comes_in_order(bus: mb.MsgbusContext, site: Path) -> None:
    subscriber = bus.new_subscriber("camera")
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(PUBLISH), str(site / "spool")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=40, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    received = [subscriber.recv(timeout=5000) for _ in range(300)]
    assert [envelope[0]["n"] for envelope in received] == list(range(300))


def test_subscriber_gets_the_topics_that_begin_with_its_own(bus: mb.MsgbusContext) -> None:
    subscriber = bus.new_subscriber("a,b/")
    for topic in ("a,b/c", "a,b", "other"):
        bus.new_publisher(topic).publish({"topic": topic})
    assert subscriber.recv(0) == {"topic": "a,b/c"}
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)


def test_messages_are_dropped_and_counted_when_a_directory_is_full(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, _subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    monkeypatch.setattr(sys.modules["spool_transport"], "QUEUE", 10)
    for number in range(15):
        publisher.publish({"n": number})
    assert publisher.stats == mb.Stats("publisher t", sent=15, dropped=5)


def test_waiting_ends_when_another_thread_closes_the_subscriber(bus: mb.MsgbusContext) -> None:
    subscriber = bus.new_subscriber("t")
    with threads() as pool:
        waiting = pool.submit(subscriber.recv)
        until(lambda: subscriber._waiters)
        subscriber.close()
        with pytest.raises(mb.MessageBusError, match=r"^subscriber t is closed$"):
            waiting.result(DEADLINE)


def test_publisher_knows_when_a_subscriber_comes_and_goes(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("t")
    with threads() as pool:
        waiting = pool.submit(publisher.wait_for_subscribers, 1)
        until(lambda: publisher._waiters)
        subscriber = bus.new_subscriber("t")
        waiting.result(DEADLINE)
    subscriber.close()
    with pytest.raises(mb.ReceiveTimeout):
        publisher.wait_for_subscribers(1, timeout=0)


def test_nothing_is_left_when_the_context_is_closed(bus: mb.MsgbusContext, site: Path) -> None:
    bus.new_publisher("t")
    bus.new_subscriber("t")
    bus.close()
    assert list((site / "spool").iterdir()) == []


def test_directory_of_a_program_that_died_is_removed(bus: mb.MsgbusContext, site: Path) -> None:
    dead = site / "spool" / "sub,t,dead"
    publisher = bus.new_publisher("t")
    dead.mkdir()
    os.mkfifo(dead / "bell")
    publisher.publish({})
    assert not dead.exists()


def test_somebody_elses_file_is_counted_as_malformed(bus: mb.MsgbusContext, site: Path) -> None:
    subscriber = bus.new_subscriber("t")
    (home,) = (site / "spool").glob("sub,*")
    (home / "0.msg").write_bytes(b"something else")
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)
    assert subscriber.stats.malformed == 1


def test_services_and_a_missing_directory_are_refused(bus: mb.MsgbusContext) -> None:
    for refused in (bus.new_service, bus.get_service):
        with pytest.raises(mb.InvalidConfig, match="config type: spool carries topics and no services"):
            refused("echo")
    with pytest.raises(mb.InvalidConfig, match="config spool_dir: expected the directory of the messages"):
        mb.MsgbusContext({"type": "spool"})


def test_reload_takes_the_same_configuration_and_no_other(config: dict[str, Any]) -> None:
    with mb.MsgbusContext(config) as bus:
        bus.reload(dict(config))
        with pytest.raises(mb.InvalidConfig, match="config spool_dir: expected the same configuration"):
            bus.reload(config | {"spool_dir": "elsewhere"})
