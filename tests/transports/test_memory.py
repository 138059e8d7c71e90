"""The transport of one process, channel by channel: what the users' test double promises."""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from eis.msgbus._channel import Closed, Counts, Request, Serving, Waitable
from eis.msgbus._waiting import poll
from eis.msgbus.exceptions import AddressInUse, Disconnected, InvalidConfig, MessageBusError
from eis.msgbus.transports.memory import MemoryTransport
from eis.msgbus.transports.memory.channel import QUEUE
from tests.meeting import DEADLINE, threads

Open = Callable[..., MemoryTransport]


@pytest.fixture
def open_transport() -> Iterator[Open]:
    with ExitStack() as opened:

        def _open(**config: Any) -> MemoryTransport:
            return opened.enter_context(closing(MemoryTransport({"type": "memory", **config})))

        yield _open


@pytest.fixture
def transport(open_transport: Open) -> MemoryTransport:
    return open_transport()


def is_readable(channel: Waitable) -> bool:
    return poll(channel.filenos(), 0)


# Configuration


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"hub": 5}, "config hub: expected the name of a hub, got int"),
        ({"hubb": "a"}, "config hubb: unknown key; memory has type and hub"),
        ({"camera1": {}}, "config camera1: unknown key; memory has type and hub"),
    ],
)
def test_configuration_is_refused_when_it_holds_more_than_a_hub(config: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        MemoryTransport({"type": "memory", **config})
    assert str(caught.value) == text


# Publishers and subscribers


def test_message_reaches_every_subscriber_of_the_topic_in_order(transport: MemoryTransport) -> None:
    first, second = transport.subscriber("t"), transport.subscriber("t")
    publisher = transport.publisher("t")
    publisher.send([b"one"])
    publisher.send([b"two"])
    assert [list(channel.receive()) for channel in (first, second)] == [[[b"one"], [b"two"]]] * 2


@pytest.mark.parametrize(
    ("prefix", "topics"),
    [("pub-", ["pub-0", "pub-1"]), ("pub-0", ["pub-0"]), ("", ["other", "pub-0", "pub-1"]), ("pub-00", [])],
)
def test_subscriber_gets_every_topic_that_begins_with_its_own(
    transport: MemoryTransport, prefix: str, topics: list[str]
) -> None:
    subscriber = transport.subscriber(prefix)
    for topic in ("other", "pub-0", "pub-1"):
        transport.publisher(topic).send([topic.encode()])
    assert subscriber.receive() == tuple([topic.encode()] for topic in topics)


def test_message_is_a_copy_when_the_sender_changes_its_buffer(transport: MemoryTransport) -> None:
    subscriber, buffer = transport.subscriber("t"), bytearray(b"before")
    transport.publisher("t").send([memoryview(buffer)])
    buffer[:] = b"after!"
    assert subscriber.receive() == ([b"before"],)


def test_subscriber_misses_what_was_sent_before_it_came(transport: MemoryTransport) -> None:
    publisher = transport.publisher("t")
    publisher.send([b"early"])
    assert transport.subscriber("t").receive() == ()


def test_messages_are_dropped_and_counted_when_a_queue_is_full(transport: MemoryTransport) -> None:
    full, publisher = transport.subscriber("t"), transport.publisher("t")
    for _ in range(QUEUE):
        publisher.send([b"x"])
    late = transport.subscriber("t")
    publisher.send([b"dropped for one"])
    assert publisher.counts() == Counts(sent=QUEUE + 1, dropped=1)
    assert (len(full.receive()), late.receive()) == (QUEUE, ([b"dropped for one"],))


def test_publisher_counts_its_subscribers(transport: MemoryTransport) -> None:
    publisher, other = transport.publisher("camera1"), transport.subscriber("camera2")
    before = publisher.subscribers()
    subscribers = [transport.subscriber(prefix) for prefix in ("camera1", "camera", "")]
    during = publisher.subscribers()
    for subscriber in (*subscribers, other):
        subscriber.close()
    assert (before, during, publisher.subscribers()) == (0, 3, 0)


def test_publisher_is_readable_when_a_subscriber_comes_or_goes(transport: MemoryTransport) -> None:
    publisher = transport.publisher("t")
    subscriber = transport.subscriber("t")
    came = is_readable(publisher)
    publisher.subscribers()
    quiet = is_readable(publisher)
    subscriber.close()
    assert (came, quiet, is_readable(publisher)) == (True, False, True)


def test_subscriber_is_readable_until_its_messages_are_taken(transport: MemoryTransport) -> None:
    subscriber = transport.subscriber("t")
    before = is_readable(subscriber)
    transport.publisher("t").send([b"x"])
    during = is_readable(subscriber)
    subscriber.receive()
    assert (before, during, is_readable(subscriber)) == (False, True, False)


def test_subscriber_refuses_to_send(transport: MemoryTransport) -> None:
    with pytest.raises(MessageBusError, match="a subscriber cannot send"):
        transport.subscriber("t").send([b"x"])


def test_subscriber_counts_what_it_received(transport: MemoryTransport) -> None:
    subscriber, publisher = transport.subscriber("t"), transport.publisher("t")
    publisher.send([b"1"])
    publisher.send([b"2"])
    subscriber.receive()
    assert subscriber.counts() == Counts(received=2)


def test_nothing_is_lost_when_many_threads_publish(transport: MemoryTransport) -> None:
    subscriber = transport.subscriber("t")

    def publish(number: int) -> None:
        publisher = transport.publisher("t")
        for count in range(100):
            publisher.send([b"%d %d" % (number, count)])

    with threads(8) as pool:
        list(pool.map(publish, range(8), timeout=DEADLINE))
    messages: Any = subscriber.receive()
    got = [message[0] for message in messages]
    each = [[text for text in got if text.startswith(b"%d " % number)] for number in range(8)]
    assert each == [[b"%d %d" % (number, count) for count in range(100)] for number in range(8)]


# Services and requesters


def take(service: Serving) -> Request:
    request = service.receive()
    assert request is not None
    return request


def test_service_answers_the_requester_that_asked(transport: MemoryTransport) -> None:
    service, one, two = transport.service("echo"), transport.requester("echo"), transport.requester("echo")
    one.send([b"one"])
    two.send([b"two"])
    for _ in range(2):
        request, way_back = take(service)
        service.send([b"re: " + request[0]], way_back)
    assert (one.receive(), two.receive()) == (([b"re: one"],), ([b"re: two"],))


def test_service_hands_out_one_request_at_a_time(transport: MemoryTransport) -> None:
    service, requesters = transport.service("echo"), [transport.requester("echo") for _ in range(3)]
    for requester in requesters:
        requester.send([b"x"])
    taken = [service.receive() is not None for _ in range(4)]
    assert (taken, service.counts().received) == ([True, True, True, False], 3)


def test_service_stays_readable_while_requests_wait(transport: MemoryTransport) -> None:
    service, requesters = transport.service("echo"), [transport.requester("echo") for _ in range(2)]
    for requester in requesters:
        requester.send([b"x"])
    service.receive()
    during = is_readable(service)
    service.receive()
    service.receive()
    assert (during, is_readable(service)) == (True, False)


def test_request_waits_for_its_service_when_that_is_not_open_yet(transport: MemoryTransport) -> None:
    requester, other = transport.requester("echo"), transport.requester("other")
    requester.send([b"early"])
    other.send([b"elsewhere"])
    assert take(transport.service("echo"))[0] == [b"early"]


def test_reply_to_a_replaced_request_never_arrives(transport: MemoryTransport) -> None:
    service, requester = transport.service("echo"), transport.requester("echo")
    requester.send([b"old"])
    _, to_old = take(service)
    requester.send([b"new"])
    service.send([b"re: old"], to_old)
    before = requester.receive()
    _, to_new = take(service)
    service.send([b"re: new"], to_new)
    assert (before, requester.receive()) == ((), ([b"re: new"],))
    assert service.counts() == Counts(sent=1, received=2, dropped=1)


def test_reply_that_has_come_is_gone_when_a_new_request_is_sent(transport: MemoryTransport) -> None:
    service, requester = transport.service("echo"), transport.requester("echo")
    requester.send([b"old"])
    service.send([b"re: old"], take(service)[1])
    requester.send([b"new"])
    assert requester.receive() == ()


def test_request_that_waits_for_a_service_is_replaced_by_the_next(transport: MemoryTransport) -> None:
    requester = transport.requester("echo")
    requester.send([b"old"])
    requester.send([b"new"])
    service = transport.service("echo")
    assert (take(service)[0], service.receive()) == ([b"new"], None)


def test_service_answers_in_any_order(transport: MemoryTransport) -> None:
    service, one, two = transport.service("echo"), transport.requester("echo"), transport.requester("echo")
    one.send([b"one"])
    two.send([b"two"])
    requests = [take(service), take(service)]
    for request, way_back in reversed(requests):
        service.send([b"re: " + request[0]], way_back)
    assert (one.receive(), two.receive()) == (([b"re: one"],), ([b"re: two"],))


def test_second_response_to_a_request_goes_nowhere(transport: MemoryTransport) -> None:
    service, requester = transport.service("echo"), transport.requester("echo")
    requester.send([b"x"])
    _, way_back = take(service)
    service.send([b"first"], way_back)
    before = requester.receive()
    service.send([b"second"], way_back)
    requester.send([b"y"])
    assert (before, requester.receive()) == (([b"first"],), ())
    assert service.counts() == Counts(sent=1, received=1, dropped=1)


def test_reply_is_refused_without_a_request_and_when_it_was_taken(transport: MemoryTransport) -> None:
    service, requester = transport.service("echo"), transport.requester("echo")
    with pytest.raises(MessageBusError, match="no request was sent that waits for a reply"):
        requester.receive()
    requester.send([b"x"])
    service.send([b"y"], take(service)[1])
    requester.receive()
    with pytest.raises(MessageBusError, match="no request was sent that waits for a reply"):
        requester.receive()


def test_reply_is_dropped_and_counted_when_the_requester_is_gone(transport: MemoryTransport) -> None:
    service, requester = transport.service("echo"), transport.requester("echo")
    requester.send([b"x"])
    _, way_back = take(service)
    requester.close()
    service.send([b"y"], way_back)
    assert service.counts() == Counts(received=1, dropped=1)


def test_requests_are_dropped_and_counted_when_the_queue_of_the_service_is_full(transport: MemoryTransport) -> None:
    transport.service("echo")
    requester = transport.requester("echo")
    for _ in range(QUEUE + 1):
        requester.send([b"x"])
    assert requester.counts() == Counts(sent=QUEUE + 1, dropped=1)


def test_second_service_of_a_name_is_refused(transport: MemoryTransport) -> None:
    transport.service("echo")
    with pytest.raises(AddressInUse, match="another service echo is open in this hub"):
        transport.service("echo")


def test_service_can_be_opened_again_when_it_was_closed(transport: MemoryTransport) -> None:
    transport.service("echo").close()
    service, requester = transport.service("echo"), transport.requester("echo")
    requester.send([b"x"])
    assert take(service)[0] == [b"x"]


@pytest.mark.parametrize("taken", [True, False])
def test_requester_is_told_when_the_service_goes_away_before_it_replied(
    transport: MemoryTransport, taken: bool
) -> None:
    service, requester = transport.service("echo"), transport.requester("echo")
    requester.send([b"x"])
    if taken:
        service.receive()
    service.close()
    assert is_readable(requester)
    with pytest.raises(Disconnected, match="service echo went away before it replied"):
        requester.receive()


def test_requester_works_again_when_its_service_came_back(transport: MemoryTransport) -> None:
    service, requester = transport.service("echo"), transport.requester("echo")
    requester.send([b"x"])
    service.close()
    with pytest.raises(Disconnected):
        requester.receive()
    again = transport.service("echo")
    requester.send([b"y"])
    again.send([b"z"], take(again)[1])
    assert requester.receive() == ([b"z"],)


def test_reply_is_received_though_the_service_was_closed_after_it(transport: MemoryTransport) -> None:
    service, requester = transport.service("echo"), transport.requester("echo")
    requester.send([b"x"])
    service.send([b"y"], take(service)[1])
    service.close()
    assert requester.receive() == ([b"y"],)


def test_requester_without_a_request_does_not_mind_that_a_service_closes(transport: MemoryTransport) -> None:
    requester = transport.requester("echo")
    transport.service("echo").close()
    assert not is_readable(requester)


# Closing


@pytest.mark.parametrize("kind", ["publisher", "subscriber", "service", "requester"])
def test_channel_can_be_closed_twice_and_not_be_used(transport: MemoryTransport, kind: str) -> None:
    channel: Any = getattr(transport, kind)("t")
    channel.close()
    channel.close()
    with pytest.raises(Closed):
        channel.receive()
    with pytest.raises(MessageBusError):
        channel.send([b"x"], *((("requester", 1),) if kind == "service" else ()))


def test_closed_publisher_knows_no_subscribers(transport: MemoryTransport) -> None:
    publisher = transport.publisher("t")
    publisher.close()
    with pytest.raises(Closed):
        publisher.subscribers()


def test_closed_subscriber_gets_nothing(transport: MemoryTransport) -> None:
    subscriber, publisher = transport.subscriber("t"), transport.publisher("t")
    subscriber.close()
    publisher.send([b"x"])
    assert publisher.counts() == Counts(sent=1)


def test_closing_a_transport_closes_its_channels_and_no_others(open_transport: Open) -> None:
    mine, other = open_transport(), open_transport()
    subscriber, theirs = mine.subscriber("t"), other.subscriber("t")
    mine.close()
    mine.close()
    other.publisher("t").send([b"x"])
    assert theirs.receive() == ([b"x"],)
    with pytest.raises(Closed):
        subscriber.receive()


@pytest.mark.parametrize("kind", ["publisher", "subscriber", "service", "requester"])
def test_closed_transport_opens_nothing(transport: MemoryTransport, kind: str) -> None:
    transport.close()
    with pytest.raises(MessageBusError, match="this context is closed"):
        getattr(transport, kind)("t")


def test_transport_forgets_closed_channels(transport: MemoryTransport) -> None:
    for _ in range(10):
        transport.subscriber("t").close()
    assert len(transport._channels) == 1


def test_wake_makes_a_channel_readable(transport: MemoryTransport) -> None:
    subscriber = transport.subscriber("t")
    subscriber.wake()
    assert is_readable(subscriber)


def test_subscriber_that_is_closed_while_a_message_goes_round_keeps_it_from_nobody(transport: MemoryTransport) -> None:
    subscribers = [transport.subscriber("t") for _ in range(3)]

    class Closing(bytes):
        def __bytes__(self) -> bytes:
            subscribers[0].close()  # as the garbage collector may, at any time
            return b"x"

    transport.publisher("t").send([Closing()])
    gc.collect()
    assert [subscriber.receive() for subscriber in subscribers[1:]] == [([b"x"],)] * 2


# Hubs


def test_hubs_do_not_hear_each_other(open_transport: Open) -> None:
    here, there = open_transport(hub="here"), open_transport(hub="there")
    subscriber, far = here.subscriber("t"), there.subscriber("t")
    here.service("echo")
    there.service("echo")
    there.publisher("t").send([b"x"])
    assert (subscriber.receive(), far.receive()) == ((), ([b"x"],))


def test_transports_of_one_hub_hear_each_other(open_transport: Open) -> None:
    one, two = open_transport(hub="shared"), open_transport(hub="shared")
    subscriber = one.subscriber("t")
    two.publisher("t").send([b"x"])
    assert subscriber.receive() == ([b"x"],)
