"""What is logged once no lock is held: a handler of the log may publish, in whatever thread."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus.transports.zmq import afterwards
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import Sides, until

Fault = Callable[["mb.Publisher", "zmq.Socket[bytes]"], object]


@contextmanager
def handling(emit: Callable[[], object]) -> Iterator[list[str]]:
    """Call `emit` with every record of the bus, as a handler does: with its lock."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            emit()

    handler, logger = Handler(), logging.getLogger("eis.msgbus.zmq")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def too_long_a_queue(publisher: mb.Publisher, _: "zmq.Socket[bytes]") -> None:
    publisher._channel._socket.queue.messages = 4  # type: ignore[attr-defined]  # small ones came before
    publisher.publish(bytes(600_000))


def what_no_subscriber_sends(publisher: mb.Publisher, stranger: "zmq.Socket[bytes]") -> None:
    stranger.send(b"\1camera1")
    publisher.wait_for_subscribers(1, 5000)
    with publisher._channel._lock:  # type: ignore[attr-defined]  # or else the supervisor may read it
        stranger.send(b"\2")
        until(lambda: publisher._channel._socket.link.socket.get(zmq.EVENTS) & zmq.POLLIN)  # type: ignore[attr-defined]
    publisher._channel._socket.look_at = 0  # type: ignore[attr-defined]
    publisher.publish({"n": 1})


@pytest.mark.parametrize("fault", [too_long_a_queue, what_no_subscriber_sends])
def test_handler_of_the_log_may_publish_while_a_thread_that_logs_publishes(
    plain_sides: Sides, opened: Open, raw: Raw, fault: Fault
) -> None:
    publisher = opened({**plain_sides.server, "queue_bytes": 1_000_000}).new_publisher("camera1")
    stranger, stuck = raw(zmq.XSUB, connect=plain_sides.publisher), []

    def publish_in_another_thread() -> None:
        other = threading.Thread(target=publisher.publish, args=({"log": 1},), daemon=True)
        other.start()
        other.join(5)
        stuck.append(other.is_alive())

    with handling(publish_in_another_thread) as said:
        fault(publisher, stranger)
        until(lambda: stuck)
    assert len(said) == 1
    assert stuck == [False]


def test_what_is_said_is_logged_in_its_order_and_once() -> None:
    told: list[object] = []
    kept = afterwards.Afterwards()
    kept.say(told.append, 1)
    kept.say(told.append, 2)
    assert not told
    kept.tell()
    kept.tell()
    assert told == [1, 2]
