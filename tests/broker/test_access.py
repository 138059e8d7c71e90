"""Who gets through a broker: each side has its own list, topics their own rights, and all of it fails closed."""

from collections.abc import Callable
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus.transports.zmq.access import AccessControl
from tests.broker.conftest import BROKER, PUBLISHER, STRANGER, SUBSCRIBER, Place, Start, streams_of
from tests.meeting import until
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import GOOD

Where = Callable[[str, str], Place]
EVERYWHERE = pytest.mark.parametrize("counting", [False, True], ids=["proxy", "counting"])


def options(pair: keys.KeyPair | None) -> dict[str, Any]:
    if pair is None:
        return {}
    secret, public = pair.secret.encode(), pair.public.encode()
    return {"curve_serverkey": BROKER.public.encode(), "curve_secretkey": secret, "curve_publickey": public}


def relayed(at: Place, opened: Open) -> tuple[mb.Publisher, mb.Subscriber[Any]]:
    """Open a listed client on each side, and see a message go through."""
    publisher = opened(at.publisher()).new_publisher("camera1")
    subscriber = opened(at.subscriber()).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 0})
    assert subscriber.recv(5000).meta_data == {"n": 0}
    return publisher, subscriber


@EVERYWHERE
def test_who_is_not_listed_at_a_side_neither_gets_nor_publishes_a_byte(
    place: Where, start: Start, opened: Open, raw: Raw, counting: bool
) -> None:
    at = place("curve", "curve")
    broker = start(at, counting=counting)
    publisher, subscriber = relayed(at, opened)
    front, back = at.address("frontend"), at.address("backend")
    silent = [raw(zmq.SUB, connect=back, subscribe=b"", **options(pair)) for pair in (None, STRANGER, PUBLISHER)]
    ignored = [raw(zmq.XPUB, connect=front, **options(pair)) for pair in (None, STRANGER, SUBSCRIBER)]
    until(lambda: broker.stats.refused >= 4)  # the ones with a key; who has none is turned away before
    for number in range(100):
        publisher.publish({"n": number})
        for each in ignored:
            each.send_multipart([*GOOD[:3], b'{"forged":1}'])
    assert [subscriber.recv(5000).meta_data["n"] for _ in range(100)] == list(range(100))
    assert subscriber.stats.received == 101
    assert not any(each.poll(100) for each in (*silent, *ignored))
    assert (broker.stats.publishers, broker.stats.subscribers) == ({"pub": 1}, {"sub": 1})


@EVERYWHERE
def test_nobody_gets_in_when_access_control_has_died(
    place: Where, start: Start, opened: Open, counting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = place("curve", "curve")
    broker = start(at, counting=counting)
    relayed(at, opened)
    access = streams_of(broker).frontend._runtime.access
    monkeypatch.setattr(access, "restart", lambda: None)
    AccessControl.close(access)
    until(lambda: streams_of(broker).frontend.stopped and streams_of(broker).backend.stopped)
    late, ignored = (opened(config) for config in (at.subscriber(), at.publisher()))
    with pytest.raises(mb.ReceiveTimeout):
        ignored.new_publisher("camera1").wait_for_subscribers(1, 500)
    with pytest.raises(mb.ReceiveTimeout):
        late.new_subscriber("camera1").recv(100)


def test_topic_of_another_is_not_carried_and_counted_when_publishers_have_rights(
    place: Where, start: Start, opened: Open, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    at = place("curve", "curve")
    broker = start(at, frontend={"topics": {"camera": ["pub"], "camera2": []}})
    allowed, subscriber = relayed(at, opened)
    everything = opened(at.subscriber()).new_subscriber("")
    bare = raw(zmq.XPUB, connect=at.address("frontend"), **options(PUBLISHER))
    until(lambda: bare.recv() == b"\1")  # somebody wants everything
    for name in (b"camera2\0", b"other\0", b"\xffwcamera1\0", b"cam", b"\xff\xfe"):
        bare.send_multipart([name, *GOOD[1:]])
    bare.send_multipart([b"camera3\0", *GOOD[1:]])
    until(lambda: "camera3" in (broker.stats.topics or {}))
    allowed.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}
    names = [everything.recv(5000).get_name() or "" for _ in range(2)]
    assert sorted(names) == ["camera1", "camera3"]
    refused = {name: each.refused for name, each in (broker.stats.topics or {}).items()}
    assert {name: count for name, count in refused.items() if count} == dict.fromkeys(
        ("camera2", "other", "\ufffdwcamera1", "cam", "\ufffd\ufffd"), 1
    )
    assert broker.stats.refused == 5
    assert (
        "does not carry what pub publishes as 'camera2': it may not publish that by zmq_tcp_publish.topics"
        in caplog.text
    )


def test_topic_is_not_delivered_when_the_subscriber_has_no_right_to_it(
    place: Where, start: Start, opened: Open
) -> None:
    at = place("curve", "curve")
    broker = start(at, backend={"topics": {"camera1": ["sub"], "camera2": []}})
    publisher, subscriber = relayed(at, opened)
    refused = [opened(at.subscriber()).new_subscriber(topic) for topic in ("camera2", "")]
    until(lambda: broker.stats.refused >= 2)
    other = opened(at.publisher()).new_publisher("camera2")
    for number in range(1, 101):
        publisher.publish({"n": number})
        other.publish({"n": number})
    assert [subscriber.recv(5000).meta_data["n"] for _ in range(100)] == list(range(1, 101))
    assert [each.stats.received for each in refused] == [0, 0]
    for each in refused:
        with pytest.raises(mb.ReceiveTimeout):
            each.recv(50)
