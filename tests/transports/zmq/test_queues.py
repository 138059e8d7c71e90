"""What waits for a subscriber that does not read: bounded in bytes, on both sides, and nobody is left out for it."""

import contextlib
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus._wire.native import METADATA, NONCE_BYTES, WHOLE
from eis.msgbus.transports.zmq import queues
from eis.msgbus.transports.zmq.queues import MOST, SHORTEST, ReceiveQueue, SendQueue, fitting, set_length
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import Program, Sides, until

LIMIT = 64 * 2**20  # bytes
FRAME = 1920 * 1080 * 3
SOCKET = {"shared_memory": False}  # all goes through the queues
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
    reading = start(
        '[print("reads") for _ in mb.MsgbusContext(config).new_subscriber("camera1")]', plain_sides.client | SOCKET
    )
    publishing = start(PUBLISHES, plain_sides.server | SOCKET, stdin=-1)
    publishing.line("subscribed")
    reading.process.send_signal(signal.SIGSTOP)
    before = resident(publishing)
    go(publishing)
    publishing.line("dropped True", 30)
    until(lambda: resident(publishing) - before < LIMIT * 1.2)  # a thread of pyzmq frees what was dropped
    grown = resident(publishing) - before
    reading.process.send_signal(signal.SIGCONT)
    reading.line("reads")
    assert grown > 2 * FRAME


@linux
def test_subscriber_keeps_no_more_than_queue_bytes_when_it_does_not_read(plain_sides: Sides, start: Start) -> None:
    code = 'subscriber = mb.MsgbusContext(config).new_subscriber("camera1")\nprint("there")\nsys.stdin.read()'
    idle = start(code, plain_sides.client | SOCKET, stdin=-1)
    idle.line("there")
    before = resident(idle)
    publishing = start(PUBLISHES, plain_sides.server | SOCKET, stdin=-1)
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


def test_what_a_publisher_left_arrives_when_its_subscriber_was_behind(plain_sides: Sides, opened: Open) -> None:
    """ZeroMQ does not know yet that 500 were read, when 900 more need room; a Unix socket tells of the end early."""
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    for count in (500, 900):
        with mb.MsgbusContext(plain_sides.server) as bus:
            publisher = bus.new_publisher("camera1")
            publisher.wait_for_subscribers(1, 5000)
            for number in range(count):
                publisher.publish({"n": number, "text": "x" * 200})
        assert [subscriber.recv(5000).meta_data["n"] for _ in range(count)] == list(range(count))


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
    publisher = opened(plain_sides.server | SOCKET).new_publisher("camera1")
    config = {**plain_sides.client, **SOCKET, "zmq_recv_hwm": 600, "queue_bytes": 1_500_000}
    subscriber = opened(config).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    channel: Any = subscriber._channel
    assert channel.link.socket.get(zmq.RCVHWM) == 600
    for number in range(50):
        publisher.publish(({"n": number}, bytes(size)))
    until(lambda: channel._queue.messages)
    lengths = {length, length // 2} if size > 1_000_000 else {length}  # twice as many as were read by then: one or two
    assert channel.link.socket.get(zmq.RCVHWM) in lengths
    if reads:
        numbers = [subscriber.recv(5000).meta_data["n"] for _ in range(50 - publisher.stats.dropped)]
        assert numbers == sorted(numbers)


def test_messages_go_on_when_the_queue_gets_its_length_while_libzmq_has_read_one_more(
    make_sides: Callable[[str], Sides], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = make_sides("ipc")
    publisher = opened(sides.server).new_publisher("camera1")

    def set_length_late(socket: "zmq.Socket[bytes]", option: int, length: int) -> bool:
        if option == zmq.RCVHWM:
            publisher.publish({"n": 1, "text": "x" * 1000})
            until(lambda: int(socket.get(zmq.EVENTS)) & zmq.POLLIN)  # with that, libzmq takes it out of the queue
        return set_length(socket, option, length)

    monkeypatch.setattr(queues, "set_length", set_length_late)
    subscriber = opened(sides.client | {"queue_bytes": 1000}).new_subscriber("camera1")
    channel: Any = subscriber._channel

    def answered() -> bool:
        publisher.wait_for_subscribers(1, 5000)  # reads the second question
        return bool(channel._reader.aside == 2)

    until(answered)  # with one message read and one in hand they are four
    channel._unseen = 0  # as it knows now
    publisher.publish({"n": 0, "text": "x" * 1000})
    assert [subscriber.recv(5000).meta_data["n"] for _ in range(2)] == [0, 1]
    go_on(publisher, subscriber)


def test_messages_go_on_when_libzmq_left_answers_out(plain_sides: Sides, opened: Open) -> None:
    publisher = opened(plain_sides.server | SOCKET).new_publisher("camera1")
    subscriber = opened(plain_sides.client | SOCKET | {"queue_bytes": 1000}).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    channel: Any = subscriber._channel
    with channel.lock:  # the supervisor does not read them before
        for number in range(8):
            channel._ask_for(WHOLE, bytes([number]) * NONCE_BYTES)
    go_on(publisher, subscriber)


@linux
def test_messages_go_on_when_a_full_queue_is_made_longer_for_frames(
    make_sides: Callable[[str], Sides], opened: Open
) -> None:
    sides = make_sides("ipc")
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(sides.client | {"queue_bytes": 1000}).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    channel: Any = subscriber._channel

    def publish(blob: bytes = b"") -> None:
        publisher.publish(({"n": publisher.stats.sent + 1, "text": "x" * 600}, blob))

    while subscriber.stats.form != "shared":  # and there is no memory yet
        publish()
        assert subscriber.recv(5000).meta_data["n"] == publisher.stats.sent
    length = channel._queue.messages
    for number in range(2000):  # more than the system holds
        publish(bytes(100_000 if number % 100 == 0 else 0))
    with pytest.raises(mb.ReceiveTimeout):
        [*iter(lambda: subscriber.recv(500), None)]

    def goes_on() -> bool:
        publish()
        with contextlib.suppress(mb.ReceiveTimeout):
            return bool(subscriber.recv(100).meta_data["n"] == publisher.stats.sent)
        return False

    until(goes_on, 5)
    assert length < channel._queue.messages <= channel._memory.slots


def test_messages_go_on_in_a_form_that_is_asked_for_again_after_a_signal_came_in_between(
    plain_sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = opened(plain_sides.server | SOCKET).new_publisher("camera1")
    subscriber = opened(plain_sides.client | SOCKET).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    channel: Any = subscriber._channel

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with channel.lock:
        with monkeypatch.context() as patch:
            patch.setattr(zmq.Socket, "set", interrupted)
            with pytest.raises(KeyboardInterrupt):
                channel._ask_for(METADATA, bytes(NONCE_BYTES))
        channel._ask_for(METADATA, bytes(NONCE_BYTES))

    def arrives() -> bool:
        publisher.publish({})
        with contextlib.suppress(mb.ReceiveTimeout):
            subscriber.recv(50)
        return subscriber.stats.form == "metadata"

    until(arrives, 5)


def go_on(publisher: mb.Publisher, subscriber: mb.Subscriber[Any]) -> None:
    """See many messages arrive, each before the next is published."""
    for number in range(2, 60):
        publisher.publish({"n": number, "text": "x" * 1000})
        assert subscriber.recv(5000).meta_data["n"] == number


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
def test_queue_grows_as_far_as_the_largest_message_allows(sizes: list[int], lengths: list[int], raw: Raw) -> None:
    socket = raw(zmq.XPUB, sndhwm=SHORTEST)
    queue, seen = SendQueue(socket, LIMIT), []
    for size in sizes:
        queue.lengthen(size)
        seen.append(socket.sndhwm)
    assert seen == lengths


def test_io_thread_is_asked_only_while_the_queue_grows(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ask = [], queues._io_thread_answers

    def counted(context: zmq.Context[Any]) -> Any:
        asked.append(1)
        return ask(context)

    monkeypatch.setattr(queues, "_io_thread_answers", counted)
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for _ in range(20):
        exchange(publisher, [subscriber], 500)
    channel: Any = publisher._channel
    assert SHORTEST < channel._socket.queue.messages <= MOST
    assert 0 < len(asked) < 50  # nine times longer, each with a look or two, and the subscriber's own


@pytest.mark.parametrize(
    ("size", "read", "length"),
    [(0, 1, 2**26), (FRAME, 1, 8), (FRAME, 5, 8), (FRAME, 9, 16), (LIMIT, 1, 2), (LIMIT * 2, 1, 2)],
)
def test_length_fits_messages_and_those_that_were_read(size: int, read: int, length: int) -> None:
    assert fitting(size, LIMIT, read) == length


@pytest.mark.parametrize(
    ("read", "unseen", "slots", "length"),
    [(0, 0, 0, 2), (3, 0, 0, 8), (2, 1, 0, 8), (0, 0, 16, 16), (0, 0, 17, 32), (40, 0, 16, 64), (0, 0, 65, 100)],
)
def test_queue_of_a_subscriber_has_room_for_what_libzmq_has_read_and_for_frames(
    read: int, unseen: int, slots: int, length: int, raw: Raw
) -> None:
    socket = raw(zmq.SUB, rcvhwm=100)
    queue = ReceiveQueue(LIMIT, 100)
    queue.fit(socket, LIMIT, read, slots, unseen=unseen)
    assert queue.messages == socket.rcvhwm == length


def test_queue_of_a_subscriber_has_no_length_while_a_connection_is_about_to_end(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = raw(zmq.SUB)
    queue = ReceiveQueue(LIMIT, 0)
    with monkeypatch.context() as patch:
        patch.setattr(queues, "is_quiet", lambda _: False)
        queue.fit(socket, LIMIT, 0, 0)
    assert (queue.messages, socket.rcvhwm) == (0, 1000)
    queue.fit(socket, LIMIT, 0, 0)
    assert queue.messages == socket.rcvhwm == 2


def test_queue_of_a_subscriber_is_doubled_when_it_has_been_read_through_each_time(raw: Raw) -> None:
    socket = raw(zmq.SUB)
    queue = ReceiveQueue(LIMIT, 50)
    queue.fit(socket, LIMIT, 3, 0)
    for read, length in [(10, 8), (11, 16), (26, 16), (27, 32), (1000, 32)]:  # 64 are more than may wait
        queue.lengthen(socket, read, 60)
        assert queue.messages == socket.rcvhwm == length


def test_warning_comes_once_when_a_long_queue_gets_large_messages(raw: Raw, caplog: pytest.LogCaptureFixture) -> None:
    queue = SendQueue(raw(zmq.XPUB), LIMIT)
    queue.notice(LIMIT, "camera1")  # two may always wait
    queue = SendQueue(raw(zmq.XPUB), LIMIT)
    for _ in range(5):
        queue.lengthen(10)
    for size in (10, FRAME, FRAME + 1):
        queue.notice(size, "camera1")
    (record,) = caplog.records
    assert "camera1: up to 64 messages of 6220800 bytes may wait for one subscriber" in record.getMessage()


LEAVING = r"""
import resource, zmq
from contextlib import suppress
from socket import AF_UNIX, MSG_WAITALL, socket
from eis.msgbus.transports.zmq.queues import set_length

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
greeting = b"\xff" + bytes(8) + b"\x7f\3\0" + b"NULL".ljust(20, b"\0") + bytes(32)
ready = b"\4\x19\5READY\x0bSocket-Type\0\0\0\3SUB"
with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
    publisher.bind("ipc://" + config["path"])
    publisher.rcvtimeo = 5000
    done = 0
    for number in range(config["times"]):
        with socket(AF_UNIX) as subscriber:
            subscriber.connect(config["path"])
            subscriber.sendall(greeting)
            subscriber.recv(64, MSG_WAITALL)
            subscriber.sendall(ready)
            subscriber.recv(27, MSG_WAITALL)
            subscriber.sendall(b"\0\1\1")
            assert publisher.recv() == b"\1"
        while not publisher.get(zmq.EVENTS) & zmq.POLLIN:
            done += SET(publisher, zmq.SNDHWM, 2 + done % 2)
        assert publisher.recv() == b"\0"
print(f"alive {done > 0}", flush=True)
"""
"""A subscriber comes and goes, and all the while the queue gets another length."""


@linux
def test_length_of_queues_changes_while_connections_end(tmp_path: Path, start: Start) -> None:
    program = start(LEAVING.replace("SET", "set_length"), {"path": str(tmp_path / "s"), "times": 300})
    program.line("alive True", 30)
    assert program.ends() == ""


@linux
@pytest.mark.xfail(
    reason="so it is in libzmq 4.3.5; if this passes, `set_length` may have become needless", strict=True
)
def test_length_of_queues_may_be_changed_at_any_time(tmp_path: Path, start: Start) -> None:
    at_any_time = "(lambda *length: publisher.set(*length[1:]) is None)"
    program = start(LEAVING.replace("SET", at_any_time), {"path": str(tmp_path / "s"), "times": 3000})
    program.process.wait(30)
    assert program.process.returncode == 0


def test_length_stays_while_connections_do_not_come_to_rest(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = raw(zmq.XPUB, sndhwm=SHORTEST)
    monkeypatch.setattr(queues, "_LOOKS", 0)
    queue = SendQueue(socket, LIMIT)
    queue.lengthen(10)
    assert queue.messages == SHORTEST
    assert socket.sndhwm == SHORTEST


def test_io_thread_that_does_not_answer_is_asked_once(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question takes two seconds, in which nothing is published."""
    asked: list[object] = []
    monkeypatch.setattr(queues, "_io_thread_answers", asked.append)
    assert not set_length(raw(zmq.XPUB), zmq.SNDHWM, 4)
    assert len(asked) == 1


def test_length_stays_when_nobody_can_be_asked() -> None:
    with zmq.Context() as context:
        context.max_sockets = 1
        with context.socket(zmq.XPUB) as socket:
            assert not set_length(socket, zmq.SNDHWM, 4)
            assert socket.sndhwm == 1000
