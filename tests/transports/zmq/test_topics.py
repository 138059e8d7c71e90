"""Who may read which topics: decided for each subscription by the name of its connection, old clients included."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus._config import Clients
from eis.msgbus._waiting import poll
from eis.msgbus.transports.zmq import granting
from eis.msgbus.transports.zmq.granting import GrantedSubscriptions
from eis.msgbus.transports.zmq.peer import Peer, Source
from eis.msgbus.transports.zmq.publisher import PublisherSocket
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import SERVER, client_keys, until

VIEWER, AUDITOR = keys.new_key_pair(), keys.new_key_pair()
TOPICS = {"camera1": ["viewer", "auditor"], "camera1_raw": ["auditor"], "alarm": ["auditor"]}
PUBLISHED = ("camera1", "camera1_raw", "camera10", "camera2", "alarm", "end")

RIGHTS = [
    ("viewer", "camera1", []),  # camera1_raw begins so too
    ("viewer", "camera10", ["camera10"]),
    ("viewer", "camera1_raw", []),
    ("viewer", "camera", []),
    ("viewer", "", []),
    ("viewer", "alarm", []),
    ("viewer", "camera2", []),
    ("auditor", "camera1", ["camera1", "camera1_raw", "camera10"]),
    ("auditor", "camera1_", ["camera1_raw"]),
    ("auditor", "al", []),
    ("auditor", "alarm", ["alarm"]),
    ("auditor", "", []),
]


@pytest.fixture
def port(tcp_port: int) -> int:
    return tcp_port


@pytest.fixture
def config(port: int) -> dict[str, Any]:
    entry = {"host": "127.0.0.1", "port": port, "server_secret_key": SERVER.secret, "topics": TOPICS}
    return {
        "type": "zmq_tcp",
        "clients": {"viewer": VIEWER.public, "auditor": AUDITOR.public},
        "zmq_tcp_publish": entry,
    }


class Bus:
    """Be a server with topics, and make its clients: ours, and bare sockets as in the original library."""

    def __init__(self, config: dict[str, Any], opened: Open, raw: Raw) -> None:
        self.port: int = config["zmq_tcp_publish"]["port"]
        self.opened, self._raw = opened, raw
        server = opened(config)
        self.publishers = {topic: server.new_publisher(topic) for topic in PUBLISHED}
        self.publisher = self.publishers["camera1"]
        self.socket: PublisherSocket = self.publisher._channel._socket  # type: ignore[attr-defined]

    def subscriber(self, name: str, topic: str) -> mb.Subscriber[Any]:
        entry = {"host": "127.0.0.1", "port": self.port, **client_keys(pair_of(name))}
        return self.opened({"type": "zmq_tcp", topic: entry}).new_subscriber(topic)

    def raw(self, kind: int, name: str) -> "zmq.Socket[bytes]":
        pair = pair_of(name)
        socket = self._raw(
            kind,
            curve_serverkey=SERVER.public.encode(),
            curve_publickey=pair.public.encode(),
            curve_secretkey=pair.secret.encode(),
            connect=f"tcp://127.0.0.1:{self.port}",
        )
        until(lambda: sum(self.publisher.stats.clients.values()))
        return socket

    def asked(self, count: int = 1) -> None:
        """Wait until so many subscriptions were granted or refused."""
        self.until(lambda: sum(map(len, self.granting._held.values())) >= count)

    def until(self, attempt: Callable[[], object]) -> None:
        """Read subscriptions until it is true."""

        def attempted() -> object:
            self.read()
            return attempt()

        until(attempted)

    def read(self) -> None:
        with self.socket.lock:
            self.socket.read_subscriptions()
        self.socket.afterwards.tell()

    @property
    def granting(self) -> GrantedSubscriptions:
        assert isinstance(self.socket._subscriptions, GrantedSubscriptions)
        return self.socket._subscriptions

    def count(self, topic: str = "camera1") -> int:
        return self.publishers[topic]._channel.subscribers()


def pair_of(name: str) -> keys.KeyPair:
    return {"viewer": VIEWER, "auditor": AUDITOR}[name]


@pytest.fixture
def bus(config: dict[str, Any], opened: Open, raw: Raw) -> Bus:
    return Bus(config, opened, raw)


@pytest.mark.parametrize(("name", "topic", "expected"), RIGHTS)
def test_subscriber_gets_what_it_may_read(bus: Bus, name: str, topic: str, expected: list[str]) -> None:
    subscriber = bus.subscriber(name, topic)
    bus.asked()
    for published, publisher in bus.publishers.items():
        publisher.publish({"topic": published})
    assert [subscriber.recv(5000).meta_data["topic"] for _ in expected] == expected
    with pytest.raises(mb.ReceiveTimeout):
        subscriber.recv(50)


@pytest.mark.parametrize(("name", "topic", "expected"), RIGHTS)
def test_old_client_gets_what_it_may_read(bus: Bus, name: str, topic: str, expected: list[str]) -> None:
    old = bus.raw(zmq.SUB, name)
    old.subscribe(topic)
    bus.asked()
    for published, publisher in bus.publishers.items():
        publisher.publish({"topic": published})
    assert [old.recv_multipart()[0].rstrip(b"\0").decode() for _ in expected] == expected
    assert not old.poll(50)


def test_several_subscriptions_of_one_client_are_judged_one_by_one(bus: Bus) -> None:
    old = bus.raw(zmq.SUB, "viewer")
    for topic in ("alarm", "camera10", "", "camera1_raw"):
        old.subscribe(topic)
    bus.asked(4)
    for publisher in bus.publishers.values():
        publisher.publish({})
    assert old.recv_multipart()[0] == b"camera10\0"
    assert not old.poll(50)


def test_refused_subscription_is_counted_and_logged_with_name_topic_and_key(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    subscriber = bus.subscriber("viewer", "alarm")
    bus.until(lambda: bus.publisher.stats.refused == 1)
    place = f"127.0.0.1:{bus.port}"
    expected = f"{place} refused viewer the topic 'alarm': not all that begins so is its own by zmq_tcp_publish.topics"
    until(lambda: caplog.messages)
    assert caplog.messages == [expected]
    until(lambda: subscriber.status.state == "connected")  # its own supervisor may learn that later


def test_subscription_that_is_no_text_is_refused(bus: Bus) -> None:
    old = bus.raw(zmq.SUB, "auditor")
    old.subscribe(b"camera1\xc3")
    bus.asked()
    assert bus.publisher.stats.refused == 1


def test_only_granted_subscriptions_are_counted_and_leaving_is_noticed(bus: Bus) -> None:
    refused, granted = bus.raw(zmq.SUB, "viewer"), bus.raw(zmq.SUB, "auditor")
    refused.subscribe("camera1")
    granted.subscribe("camera1")
    bus.publisher.wait_for_subscribers(1, 5000)
    bus.asked(1)
    bus.until(lambda: bus.publisher.stats.refused == 1)
    assert bus.count() == 1
    refused.close()
    bus.until(lambda: len(bus.granting._held[b"camera1"]) == 1)
    assert bus.count() == 1
    granted.close()
    until(lambda: bus.count() == 0)
    assert (bus.granting._held, bus.granting._bytes) == ({}, {})


def test_granted_one_of_two_that_hold_the_same_topic_leaves(bus: Bus) -> None:
    refused, granted = bus.raw(zmq.SUB, "viewer"), bus.raw(zmq.SUB, "auditor")
    refused.subscribe("camera1")
    bus.until(lambda: bus.publisher.stats.refused == 1)
    granted.subscribe("camera1")
    bus.publisher.wait_for_subscribers(1, 5000)
    granted.close()
    until(lambda: bus.count() == 0)


def test_client_unsubscribes_and_subscribes_again(bus: Bus) -> None:
    old = bus.raw(zmq.SUB, "viewer")
    for _ in range(2):
        old.subscribe("camera10")
        bus.publishers["camera10"].wait_for_subscribers(1, 5000)
        old.unsubscribe("camera10")
        until(lambda: bus.count("camera10") == 0)
        bus.publishers["camera10"].publish({})
        assert not old.poll(20)


def test_count_is_not_forged_by_repeated_or_unknown_frames(bus: Bus) -> None:
    forger, granted = bus.raw(zmq.XSUB, "viewer"), bus.raw(zmq.SUB, "auditor")
    granted.subscribe("camera10")
    bus.publishers["camera10"].wait_for_subscribers(1, 5000)
    for _ in range(3):
        forger.send(b"\1camera10")
    forger.send(b"\1camera10_end")
    bus.asked(3)
    assert bus.count("camera10") == 2
    for _ in range(3):
        forger.send(b"\0camera10")
    until(lambda: bus.count("camera10") == 1)
    bus.granting._unsubscribe(Peer(0, 0), b"camera10")
    bus.granting._leave(b"camera10_unknown")
    assert bus.count("camera10") == 1


def test_revoked_rights_hold_when_the_client_subscribes_anew(bus: Bus) -> None:
    subscriber = bus.subscriber("viewer", "camera10")
    bus.publishers["camera10"].wait_for_subscribers(1, 5000)
    assert bus.socket.link.door is not None
    bus.socket.link.door.judge_by(Clients({VIEWER.public: "viewer"}, {"camera1": frozenset({"auditor"})}))
    bus.socket.link.cut()
    bus.until(lambda: bus.publisher.stats.refused == 1)
    bus.publishers["camera10"].publish({})
    with pytest.raises(mb.ReceiveTimeout):
        subscriber.recv(50)


# libzmq grants to whom the last frame came from; a frame that is no subscription makes it take the one after for it.


def shift(bus: Bus) -> tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]:
    """Let the viewer try to be taken for the auditor, who subscribes between its two frames."""
    evil, good, other = (bus.raw(zmq.XSUB, name) for name in ("viewer", "auditor", "viewer"))
    for peer, topic in ((evil, b"\1camera10"), (good, b"\1camera1_"), (other, b"\1camera10")):
        peer.send(topic)
    bus.asked(3)
    with bus.socket.lock:  # all the while: the supervisor would read the first frame before the second is there
        for peer, frame in ((evil, b"\2"), (good, b"\1alarm"), (other, b"\1camera100")):
            peer.send(frame)
            assert poll((bus.socket.link.fd,), 5)
            bus.socket.link.socket.get(zmq.EVENTS)  # libzmq takes the frame, and keeps it
    return good, other


def test_nobody_gets_the_topic_of_another_by_confusing_libzmq(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    good, other = shift(bus)
    bus.publishers["alarm"].publish({"secret": 1})
    assert not other.poll(100)
    bus.until(lambda: "bars viewer for 60 seconds, and cuts every connection" in caplog.text)
    until(lambda: good.poll(1) or bus.count("alarm"))  # the others are back, with their subscriptions
    bus.publishers["alarm"].publish({"secret": 2})
    assert good.recv_multipart()[0] == b"alarm\0"
    assert not other.poll(100)
    with pytest.raises(mb.MessageBusAuthenticationFailed):
        bus.subscriber("viewer", "camera10").recv(5000)
    assert "viewer, which is barred," in caplog.text


def test_client_with_too_many_subscriptions_is_barred_and_the_others_are_back(
    bus: Bus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(granting, "_MOST_BYTES", 10_000)
    good, flood = bus.subscriber("auditor", "alarm"), bus.raw(zmq.XSUB, "viewer")
    bus.publishers["alarm"].wait_for_subscribers(1, 5000)
    for number in range(1000):
        flood.send(b"\1camera2%d" % number)
    bus.until(lambda: "it subscribed to too much" in caplog.text)
    bus.until(lambda: "viewer" not in bus.granting._bytes)
    until(lambda: bus.count("alarm"))
    bus.publishers["alarm"].publish({})
    assert good.recv(5000).meta_data == {}


def test_publishing_signal_handler_does_not_disturb_a_grant(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    take = GrantedSubscriptions._take

    def interrupted(self: GrantedSubscriptions, source: Source | None, frame: bytes) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert self.read() is False
        take(self, source, frame)

    before = signal.signal(signal.SIGUSR1, lambda *_: bus.publishers["camera2"].publish({}))
    try:
        monkeypatch.setattr(GrantedSubscriptions, "_take", interrupted)
        old = bus.raw(zmq.SUB, "auditor")
        old.subscribe("alarm")
        until(lambda: bus.count("alarm"))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_everybody_subscribes_anew_when_a_grant_was_interrupted(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with bus.socket.lock, monkeypatch.context() as patched:  # the supervisor waits for the lock: signals are ours
        patched.setattr(GrantedSubscriptions, "_take", interrupt)
        subscriber = bus.subscriber("auditor", "alarm")
        with pytest.raises(KeyboardInterrupt):
            until(lambda: bus.count("alarm"))
    until(lambda: bus.count("alarm"))
    bus.publishers["alarm"].publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_connection_is_gone_when_its_descriptor_is_closed_or_anothers() -> None:
    reader, writer = os.pipe()
    of_reader = Peer(reader, os.fstat(reader).st_ino)
    assert not of_reader.gone
    assert Peer(reader, 0).gone
    assert Peer(writer, of_reader.inode + 10**6).gone
    os.close(reader)
    assert of_reader.gone
    os.close(writer)
