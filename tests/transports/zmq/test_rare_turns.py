"""What a publisher and a subscriber do when a signal handler comes into the middle of a call, and other rare turns."""

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus._channel import Closed
from eis.msgbus._waiting import Deadline
from eis.msgbus.transports.zmq.calls import LAST, int_option
from eis.msgbus.transports.zmq.publisher import PublisherSocket
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import Sides, running, until
from tests.transports.zmq.test_interrupted import interrupt


@pytest.fixture
def pair(make_sides: Callable[[str], Sides], opened: Open) -> tuple[mb.Publisher, mb.Subscriber[Any]]:
    bus = opened({**make_sides("ipc").server, "native": False})
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    subscriber._channel._queue.messages = 1  # type: ignore[attr-defined]  # nobody else reads the first message
    return publisher, subscriber


@pytest.mark.parametrize("when", [1, 2, 3, 4])
def test_next_message_arrives_when_ctrl_c_comes_into_a_publish(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]], when: int
) -> None:
    publisher, subscriber = pair
    interrupt(publisher._channel, "_send", when)
    with pytest.raises(KeyboardInterrupt):
        publisher.publish({"n": 1})
    publisher.publish({"n": 2})
    assert subscriber.recv(5000).meta_data == {"n": 1 if when == 4 else 2}


@pytest.mark.parametrize("when", [1, 2, 3, 4])
def test_next_message_arrives_when_ctrl_c_comes_into_a_publish_to_a_full_queue(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]], when: int
) -> None:
    publisher, subscriber = pair
    channel: Any = publisher._channel
    real, calls = channel._send, iter(range(-1, 10))

    def send(*args: Any, **options: Any) -> None:
        if (number := next(calls)) == -1:
            raise zmq.Again
        real(*args, **options)
        if number == when - 1:
            channel._send = real
            raise KeyboardInterrupt

    channel._send = send
    with pytest.raises(KeyboardInterrupt):
        publisher.publish({"n": 1})
    publisher.publish({"n": 2})
    assert subscriber.recv(5000).meta_data == {"n": 1 if when == 4 else 2}


@pytest.mark.parametrize("when", [1, 2, 3, 4])
def test_next_message_arrives_when_ctrl_c_comes_into_a_recv(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]], when: int
) -> None:
    publisher, subscriber = pair
    publisher.publish({"n": 1})
    publisher.publish({"n": 2})
    channel: Any = subscriber._channel
    until(lambda: channel._events() & zmq.POLLIN)  # or else a call that finds nothing counts too
    channel.changed()  # to look makes the descriptor quiet
    interrupt(channel._reader, "_recv", when)
    with pytest.raises(KeyboardInterrupt):
        subscriber.recv(5000)
    assert subscriber.recv(5000).meta_data == {"n": 2}
    assert subscriber.stats.dropped == 1


def test_publish_is_refused_when_a_signal_handler_publishes_into_a_publish(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]],
) -> None:
    publisher, subscriber = pair
    refused = []

    def handler() -> None:
        with pytest.raises(mb.MessageBusError, match="signal handler"):
            publisher.publish({"n": "handler"})
        refused.append(True)

    interrupt(publisher._channel, "_send", 2, handler)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}
    assert refused == [True]


def test_message_is_sent_whole_when_a_signal_handler_closes_the_publisher_meanwhile(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]],
) -> None:
    publisher, subscriber = pair
    interrupt(publisher._channel, "_send", 2, publisher.close)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}
    with pytest.raises(mb.MessageBusError, match=r"^publisher camera1 is closed$"):
        publisher.publish({"n": 2})
    socket: PublisherSocket = publisher._channel._socket  # type: ignore[attr-defined]  # what the contract does not show
    assert socket.closed
    assert socket.link.socket.closed


def test_channels_refuse_what_they_are_not_for(pair: tuple[mb.Publisher, mb.Subscriber[Any]]) -> None:
    publisher, subscriber = pair
    with pytest.raises(mb.MessageBusError, match="a publisher cannot receive"):
        publisher._channel.receive()
    with pytest.raises(mb.MessageBusError, match="a subscriber cannot send"):
        subscriber._channel.send([b"camera1\0", b"\0", b"\1", b"{}"])


def test_closed_channel_says_so(pair: tuple[mb.Publisher, mb.Subscriber[Any]]) -> None:
    publisher, _ = pair
    channel = publisher._channel
    publisher.close()
    with pytest.raises(Closed):
        channel.send([b"camera1\0", b"\0", b"\1", b"{}"])
    with pytest.raises(Closed):
        channel.subscribers()


def test_unknown_unsubscriptions_and_other_frames_change_no_count(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]],
) -> None:
    publisher, _ = pair
    socket: PublisherSocket = publisher._channel._socket  # type: ignore[attr-defined]  # what the contract does not show
    for frame in (b"\0unknown", b"\2", b""):
        socket._subscriptions._count(frame)
    publisher.wait_for_subscribers(1, 0)
    assert socket._subscriptions._granted == {b"camera1": 1}


def test_options_are_read_when_libzmq_cannot_be_reached_by_ctypes(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = pair[0]._channel._socket.link.socket  # type: ignore[attr-defined]  # what the contract does not show
    monkeypatch.setitem(sys.modules, "zmq.backend.cython._zmq", None)
    assert int_option(socket, zmq.TYPE)() == zmq.XPUB


def test_option_is_read_again_when_a_signal_interrupts_libzmq(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def __init__(self, _: str) -> None:
            self.zmq_getsockopt = lambda *_: -1

    monkeypatch.setattr(ctypes, "PyDLL", Interrupted)
    socket = pair[0]._channel._socket.link.socket  # type: ignore[attr-defined]  # what the contract does not show
    assert int_option(socket, zmq.TYPE)() == zmq.XPUB


def test_one_subscription_is_left_when_one_of_two_subscribers_leaves(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]], make_sides: Callable[[str], Sides], opened: Open
) -> None:
    publisher, _ = pair
    second = opened(make_sides("ipc").client).new_subscriber("camera1")
    publisher.wait_for_subscribers(2, 5000)
    second.close()
    until(lambda: publisher._channel.subscribers() == 1)


def test_message_is_refused_when_it_ends_before_its_fourth_frame(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]],
) -> None:
    publisher, subscriber = pair
    channel: Any = publisher._channel
    with channel._lock:
        channel._send(b"camera1\0", LAST)
    with pytest.raises(mb.ReceiveTimeout):
        subscriber.recv(500)
    assert subscriber.stats.malformed == 1


def test_every_message_arrives_when_there_are_more_than_a_batch_after_one_that_broke_the_rules(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]],
) -> None:
    publisher, subscriber = pair
    subscriber._channel._strict = True  # type: ignore[attr-defined]  # what the contract does not show
    for number in range(200):
        publisher.publish({"n": number})
    assert [subscriber.recv(5000).meta_data["n"] for _ in range(200)] == list(range(200))


def test_subscriptions_are_read_when_a_publisher_only_publishes(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]], raw: Raw, make_sides: Callable[[str], Sides]
) -> None:
    """libzmq keeps all of them until they are read: a peer could fill the memory of a publisher that never asks."""
    publisher, subscriber = pair
    socket: PublisherSocket = publisher._channel._socket  # type: ignore[attr-defined]  # what the contract does not show
    peer = raw(zmq.XSUB, connect=make_sides("ipc").publisher)
    peer.send(b"\1camera1")
    publisher.wait_for_subscribers(2, 5000)
    for number in range(100):
        peer.send(b"\1topic%d" % number)

    def published() -> bool:
        publisher.publish({})
        subscriber.recv(5000)
        return len(socket._subscriptions._granted) == 101

    until(published)


def test_publisher_goes_on_when_a_subscriber_sends_something_large(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]], raw: Raw, make_sides: Callable[[str], Sides]
) -> None:
    publisher, subscriber = pair
    peer = raw(zmq.XSUB, connect=make_sides("ipc").publisher)
    peer.send(b"\1camera1")
    publisher.wait_for_subscribers(2, 5000)
    peer.send(b"\2" + bytes(5000))
    until(lambda: publisher._channel.subscribers() == 1)  # it was cut off
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_time_limit_holds_when_another_thread_publishes_without_pause(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]],
) -> None:
    publisher, _ = pair
    done = threading.Event()

    def publish() -> None:
        while not done.is_set():
            publisher.publish({})

    with running(publish):
        deadline = Deadline(20)
        with pytest.raises(mb.ReceiveTimeout):
            publisher.wait_for_subscribers(5, 100)
        assert deadline.left() != 0
        done.set()


def test_message_is_taken_when_the_news_of_it_come_between_two_looks(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]],
) -> None:
    """The supervisor's touch of the socket takes the news out of its descriptor, and says so by the wake-up."""
    publisher, subscriber = pair
    channel: Any = subscriber._channel
    changed, clear = channel.changed, channel._wakeup.clear
    channel.changed = lambda: True  # the supervisor's own touch does not come in between

    def looked() -> bool:
        with pytest.raises(mb.NoMessage):
            subscriber.recv(0)
        return bool(channel._dry)

    def changed_before() -> None:
        publisher.publish({"n": 1})
        until(lambda: channel._events() & zmq.POLLIN)
        changed()
        clear()

    until(looked)

    channel._wakeup.clear = changed_before
    assert subscriber.recv(0).meta_data == {"n": 1}


def test_rest_of_the_subscriptions_is_read_later_when_there_are_many(
    pair: tuple[mb.Publisher, mb.Subscriber[Any]],
    raw: Raw,
    make_sides: Callable[[str], Sides],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eis.msgbus.transports.zmq.subscriptions.AT_MOST", 1)
    publisher, _ = pair
    peer = raw(zmq.XSUB, connect=make_sides("ipc").publisher)
    for topic in (b"a", b"b", b"camera1"):
        peer.send(b"\1" + topic)
    until(lambda: publisher._channel.subscribers() == 2)
