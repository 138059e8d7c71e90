"""A subscriber goes on by itself when its publisher was killed and started again."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import Sides, until

PUBLISH = """
stop = threading.Event()
with mb.MsgbusContext(config) as bus:
    publisher = bus.new_publisher("camera1")
    publisher.wait_for_subscribers(1, 20000)
    while not stop.wait(0.002):
        publisher.publish({"pid": os.getpid()})
"""


def test_subscriber_resumes_when_its_publisher_was_killed_and_restarted(
    sides: Sides, opened: Open, start: Start
) -> None:
    subscriber = opened(sides.client).new_subscriber("camera1")
    for _ in range(2):
        program = start(PUBLISH, sides.server)
        pid = program.process.pid
        until(lambda pid=pid: subscriber.recv(15000).meta_data == {"pid": pid}, 20)  # type: ignore[misc]
        os.kill(pid, signal.SIGKILL)
        program.process.wait(10)
    assert subscriber.stats.reconnects == 1
    assert subscriber.stats.malformed == 0


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_publisher_goes_on_when_a_subscriber_was_killed(
    mode: str, make_sides: Callable[[str], Sides], opened: Open, start: Start
) -> None:
    sides = make_sides(mode)
    publisher = opened(sides.server).new_publisher("camera1")
    doomed = start('mb.MsgbusContext(config).new_subscriber("camera1").recv()', sides.client)
    publisher.wait_for_subscribers(1, 15000)
    os.kill(doomed.process.pid, signal.SIGKILL)
    until(lambda: publisher._channel.subscribers() == 0)
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}
