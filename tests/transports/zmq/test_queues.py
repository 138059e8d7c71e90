"""What waits for a subscriber that does not read: bounded in bytes, on both sides, and nobody is left out for it."""

import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus.transports.zmq.queues import MOST, Queue, fitting
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import Program, Sides, until

LIMIT = 64 * 2**20  # bytes
FRAME = 1920 * 1080 * 3
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PUBLISHES = f"""
publisher = mb.MsgbusContext(config).new_publisher("camera1")
publisher.wait_for_subscribers(1, 15000)
print("subscribed")
for line in sys.stdin:
    for number in range(60):
        publisher.publish(({{"n": number}}, bytes([number]) * {FRAME}))
    print(f"dropped {{publisher.stats.dropped > 30}}")
"""


class Options(dict[int, int]):
    """Stand in for a socket."""

    def set(self, option: int, value: int) -> None:
        self[option] = value


def resident(program: Program, what: str = "VmRSS") -> int:
    """Return the bytes of memory that a program has, or with VmHWM had at most."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    (kilobytes,) = re.findall(rf"{what}:\s+(\d+) kB", status)
    return int(kilobytes) * 1024


def go(program: Program) -> None:
    assert program.process.stdin is not None
    program.process.stdin.write("go\n")
    program.process.stdin.flush()


@linux
def test_publisher_keeps_no_more_than_queue_bytes_when_a_subscriber_is_stopped(
    plain_sides: Sides, start: Start
) -> None:
    reading = start('[print("reads") for _ in mb.MsgbusContext(config).new_subscriber("camera1")]', plain_sides.client)
    publishing = start(PUBLISHES, plain_sides.server, stdin=-1)
    publishing.line("subscribed")
    reading.process.send_signal(signal.SIGSTOP)
    before = resident(publishing)
    go(publishing)
    publishing.line("dropped True", 30)
    grown = resident(publishing) - before
    reading.process.send_signal(signal.SIGCONT)
    reading.line("reads")
    assert 2 * FRAME < grown < LIMIT * 1.2


@linux
def test_subscriber_keeps_no_more_than_queue_bytes_when_it_does_not_read(plain_sides: Sides, start: Start) -> None:
    code = 'subscriber = mb.MsgbusContext(config).new_subscriber("camera1")\nprint("there")\nsys.stdin.read()'
    idle = start(code, plain_sides.client, stdin=-1)
    idle.line("there")
    before = resident(idle)
    publishing = start(PUBLISHES, plain_sides.server, stdin=-1)
    publishing.line("subscribed")
    go(publishing)
    publishing.line("dropped True", 30)
    assert FRAME < resident(idle, "VmHWM") - before < LIMIT * 1.2


def test_no_subscriber_is_left_out_when_large_messages_follow_small_ones(sides: Sides, opened: Open) -> None:
    bus = opened(sides.server | {"queue_bytes": 2_000_000})
    publisher = bus.new_publisher("camera1")
    subscriber = opened(sides.client | {"queue_bytes": 2_000_000}).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(300):
        publisher.publish({"n": number})
    assert [subscriber.recv(5000).meta_data["n"] for _ in range(300)] == list(range(300))
    for number in range(50):
        publisher.publish(({"n": number}, bytes(500_000)))
        assert subscriber.recv(5000).meta_data == {"n": number}
    assert publisher.stats.dropped == 0


def test_burst_reaches_a_subscriber_that_came_later(sides: Sides, opened: Open) -> None:
    publisher = opened(sides.server | {"queue_bytes": 70_000}).new_publisher("camera1")  # 1024 small messages
    client = opened(sides.client)
    there = [client.new_subscriber("camera1")]
    publisher.wait_for_subscribers(1, 5000)
    exchange(publisher, there, 900)
    there.append(client.new_subscriber("camera1"))
    publisher.wait_for_subscribers(2, 5000)
    exchange(publisher, there, 400)


def exchange(publisher: mb.Publisher, subscribers: list[mb.Subscriber[Any]], count: int) -> None:
    for number in range(count):
        publisher.publish({"n": number})
    for subscriber in subscribers:
        assert [subscriber.recv(5000).meta_data["n"] for _ in range(count)] == list(range(count))


@pytest.mark.parametrize(("size", "length"), [(0, 600), (2000, 512), (300_000, 4), (1_500_000, 4)])
@pytest.mark.parametrize("reads", [True, False])
def test_first_message_says_how_many_may_wait_in_the_subscriber(
    size: int, length: int, reads: bool, plain_sides: Sides, opened: Open
) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    config = {**plain_sides.client, "zmq_recv_hwm": 600, "queue_bytes": 1_500_000}
    subscriber = opened(config).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    channel: Any = subscriber._channel
    assert channel.link.socket.get(zmq.RCVHWM) == 600
    for number in range(50):
        publisher.publish(({"n": number}, bytes(size)))
    until(lambda: channel._fits)
    assert channel.link.socket.get(zmq.RCVHWM) == length
    if reads:
        numbers = [subscriber.recv(5000).meta_data["n"] for _ in range(50 - publisher.stats.dropped)]
        assert numbers == sorted(numbers)


def test_service_takes_some_requests_of_a_client_and_more_where_they_are_small(
    plain_sides: Sides, opened: Open
) -> None:
    def length(**more: int) -> Any:
        with opened({**plain_sides.server, **more}).new_service("echo") as service:
            return service._channel.link.socket.get(zmq.RCVHWM)  # type: ignore[attr-defined]

    assert [length(), length(max_message_bytes=2**20), length(zmq_recv_hwm=3), length(max_message_bytes=10)] == [
        16,
        64,
        3,
        MOST,
    ]


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([10] * 11, [4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024]),
        ([FRAME] * 4, [4, 8, 8, 8]),
        ([10, 10, FRAME, 10], [4, 8, 8, 8]),
        ([10, 10, 10, FRAME], [4, 8, 16, 16]),  # never shorter
        ([LIMIT, LIMIT * 2], [2, 2]),
    ],
)
def test_queue_grows_as_far_as_the_largest_message_allows(sizes: list[int], lengths: list[int]) -> None:
    socket: Any = Options()
    queue, seen = Queue(socket, LIMIT), []
    for size in sizes:
        before = queue.messages
        assert queue.grow(size) == (queue.messages > before)
        queue.renew()
        seen.append(socket[zmq.SNDHWM])
    assert seen == lengths


@pytest.mark.parametrize(
    ("size", "read", "length"),
    [(0, 1, 2**26), (FRAME, 1, 8), (FRAME, 5, 8), (FRAME, 9, 16), (LIMIT, 1, 2), (LIMIT * 2, 1, 2)],
)
def test_length_fits_messages_and_those_that_were_read(size: int, read: int, length: int) -> None:
    assert fitting(size, LIMIT, read) == length


def test_warning_comes_once_when_a_long_queue_gets_large_messages(caplog: pytest.LogCaptureFixture) -> None:
    queue = Queue(Options(), LIMIT)  # type: ignore[arg-type]  # all that it uses
    queue.notice(LIMIT, "camera1")  # two may always wait
    queue = Queue(Options(), LIMIT)  # type: ignore[arg-type]
    for _ in range(5):
        queue.grow(10)
    for size in (10, FRAME, FRAME + 1):
        queue.notice(size, "camera1")
    (record,) = caplog.records
    assert "camera1: up to 64 messages of 6220800 bytes may wait for one subscriber" in record.getMessage()
