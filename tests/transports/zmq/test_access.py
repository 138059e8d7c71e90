"""Who gets in: right, wrong, missing, mismatched and unlisted keys, in both patterns and both directions."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import keys
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import CLIENT, SERVER, STRANGER, Sides, client_keys, running, tcp_sides, until

OTHER_SERVER = keys.new_key_pair()

WRONG_CLIENTS = {
    "unlisted": (client_keys(STRANGER), "its key is not among the server's allowed_clients"),
    "wrong-server-key": (client_keys(server=OTHER_SERVER.public), "server_public_key is another server's"),
    "no-keys": ({}, "this client does not encrypt, the server does"),
}


@pytest.fixture
def sides(make_sides: Callable[[str], Sides]) -> Sides:
    return make_sides("allow")


@pytest.fixture(params=WRONG_CLIENTS)
def refused(request: pytest.FixtureRequest, sides: Sides) -> tuple[dict[str, Any], str]:
    """The configuration of a client that must not get in, and the reason that it is told."""
    wrong, reason = WRONG_CLIENTS[request.param]
    ports = [sides.server["zmq_tcp_publish"]["port"], sides.server["echo"]["port"]]
    plain = tcp_sides(ports, "tcp").client
    for name in ("camera1", "echo"):
        plain[name] |= wrong
    return plain, reason


def test_refused_subscriber_is_told_why_and_gets_nothing(
    sides: Sides, refused: tuple[dict[str, Any], str], opened: Open
) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    wrong = opened(refused[0]).new_subscriber("camera1")
    good = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(50):
        publisher.publish({"n": number})
    with pytest.raises(mb.MessageBusAuthenticationFailed, match=refused[1]):
        wrong.recv(10_000)
    assert [good.recv(5000).meta_data["n"] for _ in range(50)] == list(range(50))
    assert (wrong.stats.received, good.stats.refused, good.stats.received) == (0, 0, 50)
    assert wrong.stats.refused > 0
    assert publisher.stats.refused > 0


def test_refused_requester_is_told_why_and_the_service_gets_nothing(
    sides: Sides, refused: tuple[dict[str, Any], str], opened: Open
) -> None:
    service = opened(sides.server).new_service("echo")
    wrong, good = opened(refused[0]).get_service("echo"), opened(sides.client).get_service("echo")
    with pytest.raises(mb.MessageBusAuthenticationFailed, match=refused[1]):
        wrong.request({"who": "wrong"}, timeout=10_000)
    good.request({"who": "good"})
    assert service.recv(5000).meta_data == {"who": "good"}
    service.response({"n": 1})
    assert good.recv(5000).meta_data == {"n": 1}
    with pytest.raises(mb.NoMessage):
        service.recv(0)


def test_client_with_keys_refuses_a_server_without(free_ports: Callable[[int], list[int]], opened: Open) -> None:
    ports = free_ports(2)
    server = opened(tcp_sides(ports, "tcp").server)
    client = opened(tcp_sides(ports, "curve").client)
    publisher, service = server.new_publisher("camera1"), server.new_service("echo")
    subscriber, requester = client.new_subscriber("camera1"), client.get_service("echo")
    with pytest.raises(mb.MessageBusAuthenticationFailed, match="the server does not"):
        subscriber.recv(2000)
    with pytest.raises(mb.MessageBusAuthenticationFailed, match="the server does not"):
        requester.request({"secret": 1}, timeout=10_000)
    publisher.publish({"n": 1})
    assert publisher._channel.subscribers() == 0
    with pytest.raises(mb.NoMessage):
        service.recv(0)


def test_pair_that_does_not_match_is_refused_by_the_server(sides: Sides, opened: Open, raw: Raw) -> None:
    publisher = opened(sides.server).new_publisher("camera1")
    wrong = raw(
        zmq.SUB,
        curve_serverkey=SERVER.public.encode(),
        curve_publickey=CLIENT.public.encode(),
        curve_secretkey=STRANGER.secret.encode(),
        connect=sides.publisher,
        subscribe=b"",
        rcvtimeo=300,
    )
    until(lambda: publisher.stats.refused)
    publisher.publish({"n": 1})
    with pytest.raises(zmq.Again):
        wrong.recv()


def test_refused_subscriber_recovers_when_its_key_is_allowed(sides: Sides, opened: Open) -> None:
    closed_to_it = {**sides.server, "allowed_clients": [STRANGER.public]}
    with mb.MsgbusContext(closed_to_it) as server:
        publisher = server.new_publisher("camera1")
        subscriber = opened(sides.client).new_subscriber("camera1")
        with pytest.raises(mb.MessageBusAuthenticationFailed):
            subscriber.recv(5000)
        assert publisher.stats.sent == 0
    publisher = opened(sides.server).new_publisher("camera1")
    publisher.wait_for_subscribers(1, 10000)
    publisher.publish({"n": 1})
    assert recv_past_refusals(subscriber).meta_data == {"n": 1}


def test_refused_requester_recovers_when_its_key_is_allowed(sides: Sides, opened: Open) -> None:
    requester = opened(sides.client).get_service("echo")
    with mb.MsgbusContext({**sides.server, "allowed_clients": [STRANGER.public]}) as server:
        refusing = server.new_service("echo")
        with pytest.raises(mb.MessageBusAuthenticationFailed):
            requester.request({}, timeout=5000)
        assert refusing.stats.received == 0
    service = opened(sides.server).new_service("echo")
    with running(lambda: service.response(service.recv(10000))):
        assert requester.request({"n": 1}, timeout=10000).meta_data == {"n": 1}


def test_everybody_with_the_servers_key_gets_in_without_a_list(
    make_sides: Callable[[str], Sides], opened: Open
) -> None:
    sides = make_sides("curve")
    sides.client["camera1"] |= client_keys(STRANGER)
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def recv_past_refusals(subscriber: mb.Subscriber[Any]) -> mb.MsgEnvelope[Any]:
    try:
        return subscriber.recv(10000)
    except mb.MessageBusAuthenticationFailed:  # of the time before
        return subscriber.recv(10000)


@pytest.fixture
def everything_said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text


def test_no_secret_is_in_what_is_said(sides: Sides, opened: Open, everything_said: Callable[[], str]) -> None:
    sides.client["camera1"] |= client_keys(STRANGER)
    server, client = opened(sides.server), opened(sides.client)
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    with pytest.raises(mb.MessageBusAuthenticationFailed) as caught:
        subscriber.recv(5000)
    until(lambda: "refused the client" in everything_said())
    link = subscriber._channel.link  # type: ignore[attr-defined]  # whatever a traceback with locals would show
    config = server._transport._config  # type: ignore[attr-defined]
    shown = [repr(thing) for thing in (server, client, publisher, subscriber, link, link.plan, config)]
    said = everything_said() + str(caught.value) + "".join(shown)
    for secret in (SERVER.secret, CLIENT.secret, STRANGER.secret):
        assert secret not in said


def test_clients_are_counted_and_logged_by_name(sides: Sides, opened: Open, everything_said: Callable[[], str]) -> None:
    config = sides.server | {"clients": {"viewer": CLIENT.public}, "allowed_clients": ["viewer", STRANGER.public]}
    server, client = opened(config), opened(sides.client)
    publisher, service = server.new_publisher("camera1"), server.new_service("echo")
    first = client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    second, requester = client.new_subscriber("camera1"), client.get_service("echo")
    publisher.wait_for_subscribers(2, 5000)
    requester.request({})
    assert service.recv(5000).meta_data == {}
    assert [endpoint.stats.clients for endpoint in (publisher, service)] == [{"viewer": 2}, {"viewer": 1}]
    assert [endpoint.stats.clients for endpoint in (first, second)] == [{}, {}]
    until(lambda: everything_said().count(f"127.0.0.1:{config['echo']['port']} let viewer in, from 127.0.0.1") == 1)


def test_refusal_is_logged_with_key_and_address(sides: Sides, opened: Open, everything_said: Callable[[], str]) -> None:
    sides.client["camera1"] |= client_keys(STRANGER)
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    with pytest.raises(mb.MessageBusAuthenticationFailed):
        subscriber.recv(5000)
    place = f"127.0.0.1:{sides.server['zmq_tcp_publish']['port']}"
    until(lambda: f"{place} refused the client with the key {STRANGER.public}" in everything_said())
    assert (publisher.stats.refused, publisher.stats.clients) == (1, {})


def test_nobody_is_counted_by_name_where_everybody_gets_in(make_sides: Callable[[str], Sides], opened: Open) -> None:
    sides = make_sides("curve")
    publisher = opened(sides.server).new_publisher("camera1")
    subscriber = opened(sides.client).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    assert [endpoint.stats.clients for endpoint in (publisher, subscriber)] == [{}, {}]
