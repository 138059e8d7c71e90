"""The status of connections, and its events, with real sockets."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import keys
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import CLIENT, GOOD, STRANGER, Sides, client_keys, running, tcp_sides, until

PUBLISH = """
with mb.MsgbusContext(config) as bus:
    publisher = bus.new_publisher("camera1")
    publisher.wait_for_subscribers(1, 15000)
    print("open", flush=True)
    while True:
        publisher.publish({"n": 1})
        threading.Event().wait(0.02)
"""


def reaches(endpoint: Any, state: str, seconds: float = 10.0) -> mb.Status:
    until(lambda: endpoint.status.state == state, seconds)
    status = endpoint.status
    assert isinstance(status, mb.Status)
    return status


def test_subscriber_tells_of_its_connection_from_beginning_to_end(sides: Sides, opened: Open) -> None:
    subscriber = opened(sides.client).new_subscriber("camera1")
    heard: list[mb.Status] = []
    subscriber.on_event(heard.append)
    assert subscriber.status.state == "connecting"
    until(lambda: subscriber.status.reason == "nobody is there")
    with mb.MsgbusContext(sides.server) as server:
        publisher = server.new_publisher("camera1")
        reaches(subscriber, "connected")
        assert publisher.status.state == "listening"
    reaches(subscriber, "reconnecting")
    with mb.MsgbusContext(sides.server) as server:
        publisher = server.new_publisher("camera1")
        reaches(subscriber, "connected")
        subscriber.close()
    states = [status.state for status in heard]
    changes = [state for state, before in zip(states, ["", *states], strict=False) if state != before]
    assert changes[-4:] == ["connected", "reconnecting", "connected", "closed"]
    assert changes[:-4] in (["connecting"], [])  # nobody may have been there before the first who listened
    assert {status.endpoint for status in heard} == {"subscriber camera1"}


def test_refused_client_is_denied_with_the_reason(make_sides: Callable[[str], Sides], opened: Open) -> None:
    sides = make_sides("allow")
    publisher = opened(sides.server).new_publisher("camera1")
    stranger = {name: entry for name, entry in sides.client.items() if not isinstance(entry, dict)}
    stranger["camera1"] = {**sides.client["camera1"], **client_keys(STRANGER)}
    subscriber = opened(stranger).new_subscriber("camera1")
    assert "its key is not among the server's allowed_clients" in reaches(subscriber, "denied").reason
    with pytest.raises(mb.MessageBusAuthenticationFailed):
        subscriber.recv(5000)
    assert (subscriber.status.state, publisher.status.state) == ("denied", "listening")


def test_client_with_the_key_of_another_server_is_denied(make_sides: Callable[[str], Sides], opened: Open) -> None:
    sides = make_sides("curve")
    publisher = opened(sides.server).new_publisher("camera1")
    entry = {**sides.client["camera1"], **client_keys(CLIENT, keys.new_key_pair().public)}
    subscriber = opened({"type": "zmq_tcp", "camera1": entry}).new_subscriber("camera1")
    assert "server_public_key is another server's" in reaches(subscriber, "denied").reason
    until(lambda: publisher.stats.refused >= 3)


def test_client_that_was_denied_waits_when_nobody_is_there_any_more(
    make_sides: Callable[[str], Sides], opened: Open
) -> None:
    sides = make_sides("tcp")
    entry = {**sides.client["camera1"], **client_keys()}
    with mb.MsgbusContext(sides.server) as server:
        publisher = server.new_publisher("camera1")
        subscriber = opened({"type": "zmq_tcp", "camera1": entry}).new_subscriber("camera1")
        reaches(subscriber, "denied")
        assert publisher.status.state == "listening"
    assert reaches(subscriber, "connecting").reason == "nobody is there"


def test_garbage_on_the_port_is_a_connection_that_does_not_come_about(tcp_port: int, opened: Open) -> None:
    import socket

    sides = tcp_sides([tcp_port, tcp_port], "tcp")
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), server.accept()[0] as caller:
                caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5)

    with socket.create_server(("127.0.0.1", tcp_port)) as server:
        server.settimeout(0.05)
        with running(serve):
            subscriber = opened(sides.client).new_subscriber("camera1")
            until(lambda: "before its handshake is done" in subscriber.status.reason)
            assert subscriber.status.state == "connecting"
            stop.set()


def test_requester_is_connected_again_after_a_request_was_given_up(sides: Sides, opened: Open) -> None:
    service = opened(sides.server).new_service("echo")
    requester = opened(sides.client).get_service("echo")
    reaches(requester, "connected")
    heard: list[mb.Status] = []
    requester.on_event(heard.append)
    with pytest.raises(mb.ReceiveTimeout):
        requester.request({"n": 1}, timeout=20)
    requester.request({"n": 2})
    until(lambda: [each.state for each in heard] == ["reconnecting", "connected"])
    assert heard[0].reason == "a request was given up"
    assert (service.status.state, requester.status.state) == ("listening", "connected")


def test_silent_publisher_is_stalled_within_twice_the_time_and_alive_with_its_next_message(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher = raw(zmq.XPUB, bind=plain_sides.publisher)
    subscriber = opened({**plain_sides.client, "stalled_after": 300}).new_subscriber("camera1")
    publisher.recv()
    connected = reaches(subscriber, "connected")
    stalled = reaches(subscriber, "stalled")
    assert 0.3 <= stalled.since - connected.since <= 0.6 + 0.2  # and a moment for a busy machine
    assert stalled.reason == "no message for 300 ms"
    publisher.send_multipart(GOOD)
    reaches(subscriber, "connected")
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_stopped_publisher_is_stalled_and_alive_when_it_goes_on(sides: Sides, opened: Open, start: Start) -> None:
    import signal

    program = start(PUBLISH, sides.server)
    subscriber = opened({**sides.client, "stalled_after": 400}).new_subscriber("camera1")
    program.line("open")
    assert subscriber.recv(5000).meta_data == {"n": 1}
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            with contextlib.suppress(mb.ReceiveTimeout):
                subscriber.recv(50)

    with running(read):
        program.process.send_signal(signal.SIGSTOP)
        reaches(subscriber, "stalled", 3)
        program.process.send_signal(signal.SIGCONT)
        reaches(subscriber, "connected", 3)
        done.set()


def test_subscriber_is_not_stalled_while_messages_wait_for_its_program(
    plain_sides: Sides, opened: Open, raw: Raw
) -> None:
    publisher = raw(zmq.XPUB, bind=plain_sides.publisher)
    subscriber = opened({**plain_sides.client, "stalled_after": 100}).new_subscriber("camera1")
    publisher.recv()
    publisher.send_multipart(GOOD)
    heard: list[mb.Status] = []
    subscriber.on_event(heard.append)
    assert not threading.Event().wait(0.5)
    assert [each for each in heard if each.state == "stalled"] == []
    assert subscriber.recv(5000).meta_data == {"n": 1}
    reaches(subscriber, "stalled")


def test_subscriber_is_never_stalled_without_a_time(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = raw(zmq.XPUB, bind=plain_sides.publisher)
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    publisher.recv()
    reaches(subscriber, "connected")
    with pytest.raises(mb.ReceiveTimeout):
        subscriber.recv(300)
    assert subscriber.status.state == "connected"


def test_callback_may_close_its_context(sides: Sides, opened: Open) -> None:
    bus = opened(sides.client)
    subscriber, other = bus.new_subscriber("camera1"), bus.new_subscriber("camera1")
    begun = {thread for thread in threading.enumerate() if thread.name == "msgbus-supervisor"}
    subscriber.on_event(lambda status: bus.close() if status.state == "connected" else None)
    publisher = opened(sides.server).new_publisher("camera1")
    reaches(subscriber, "closed")
    until(lambda: not any(thread.is_alive() for thread in begun))
    assert (other.status.state, publisher.status.state) == ("closed", "listening")


def test_callback_may_close_its_endpoint(sides: Sides, opened: Open) -> None:
    subscriber = opened(sides.client).new_subscriber("camera1")
    subscriber.on_event(lambda status: subscriber.close() if status.state == "connected" else None)
    publisher = opened(sides.server).new_publisher("camera1")
    reaches(subscriber, "closed")
    with pytest.raises(mb.MessageBusError):
        subscriber.recv(0)
    assert publisher.status.state == "listening"


def test_message_that_waits_is_progress_and_is_not_missed(plain_sides: Sides, opened: Open) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    subscriber = opened(plain_sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    until(lambda: subscriber._channel.progress() is None)  # type: ignore[attr-defined]
    assert subscriber.recv(5000).meta_data == {"n": 1}
