"""Publishers and subscribers, blocking, in every mode."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

import eis.msgbus as mb
from tests.transports.zmq.helpers import running, until


def test_subscriber_gets_what_is_published(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish(({"n": 1}, b"blob"))
    envelope = subscriber.recv(5000)
    assert (envelope.name, envelope.meta_data, envelope.blob) == ("camera1", {"n": 1}, b"blob")


def test_messages_arrive_in_order_when_many_are_published(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(900):
        publisher.publish({"n": number})
    assert [subscriber.recv(5000).meta_data["n"] for _ in range(900)] == list(range(900))


def test_prefix_subscriber_gets_every_topic_that_begins_so(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    exact, longer, other = (server.new_publisher(topic) for topic in ("camera1", "camera10", "other"))
    subscriber = client.new_subscriber("camera1")
    everything = client.new_subscriber("")
    exact.wait_for_subscribers(2, 5000)
    other.wait_for_subscribers(1, 5000)
    for publisher in (other, exact, longer):
        publisher.publish({"topic": publisher.name})
    assert [subscriber.recv(5000).name for _ in range(2)] == ["camera1", "camera10"]
    assert [everything.recv(5000).name for _ in range(3)] == ["other", "camera1", "camera10"]


def test_no_message_is_torn_when_eight_threads_publish_on_one_socket(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    publishers = [server.new_publisher(topic) for topic in ("camera1", "camera10")] * 4
    subscriber = client.new_subscriber("camera1")
    publishers[0].wait_for_subscribers(1, 5000)

    def publish(thread: int) -> None:
        for number in range(100):
            publishers[thread].publish(({"thread": thread, "n": number}, bytes([thread]) * 100))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(publish, range(8)))
    seen: dict[int, list[int]] = {thread: [] for thread in range(8)}
    for _ in range(800):
        envelope = subscriber.recv(5000)
        thread = envelope.meta_data["thread"]
        assert (envelope.name, envelope.blob) == (publishers[thread].name, bytes([thread]) * 100)
        seen[thread].append(envelope.meta_data["n"])
    assert seen == {thread: list(range(100)) for thread in range(8)}
    assert subscriber.stats.malformed == 0


def test_messages_go_on_when_a_publisher_is_closed_and_opened_again(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    subscriber = client.new_subscriber("camera1")
    for number in range(3):
        with server.new_publisher("camera1") as publisher:
            publisher.wait_for_subscribers(1, 5000)
            publisher.publish({"n": number})
            assert subscriber.recv(5000).meta_data == {"n": number}
    assert subscriber.stats.reconnects == 2


def test_other_publishers_of_the_socket_go_on_when_one_is_closed(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    first, second = server.new_publisher("camera1"), server.new_publisher("other")
    subscriber = client.new_subscriber("other")
    second.wait_for_subscribers(1, 5000)
    first.close()
    second.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_wait_for_subscribers_counts_up_and_down(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher = server.new_publisher("camera1")
    with client.new_subscriber("camera1"), client.new_subscriber("camera"):
        publisher.wait_for_subscribers(2, 5000)
    until(lambda: publisher._channel.subscribers() == 0)
    with pytest.raises(mb.ReceiveTimeout, match="publisher camera1: expected 1 subscriber within 0 ms"):
        publisher.wait_for_subscribers(1, 0)


def test_wait_for_subscribers_ignores_other_topics(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, other = server.new_publisher("camera1"), server.new_publisher("other")
    subscriber = client.new_subscriber("other")
    other.wait_for_subscribers(1, 5000)
    with pytest.raises(mb.ReceiveTimeout):
        publisher.wait_for_subscribers(1, 20)
    subscriber.close()


def test_two_publishers_of_a_socket_both_learn_of_their_subscribers(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    first, second = server.new_publisher("camera1"), server.new_publisher("other")
    with (
        running(lambda: first.wait_for_subscribers(1, 5000)),
        running(lambda: second.wait_for_subscribers(1, 5000)),
    ):
        subscribers = [client.new_subscriber(topic) for topic in ("camera1", "other")]
    assert len(subscribers) == 2


def test_all_messages_arrive_when_the_publisher_closes_right_after(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(500):
        publisher.publish(({"n": number}, bytes(2000)))
    publisher.close()
    assert [subscriber.recv(5000).meta_data["n"] for _ in range(500)] == list(range(500))


def test_all_messages_arrive_when_the_context_closes_right_after(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(500):
        publisher.publish({"n": number})
    with running(server.close):
        assert [subscriber.recv(5000).meta_data["n"] for _ in range(500)] == list(range(500))


def test_stats_count_what_was_sent_and_received(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(5):
        publisher.publish({"n": number})
    for _ in range(5):
        subscriber.recv(5000)
    assert dataclasses.replace(publisher.stats, clients={}) == mb.Stats("publisher camera1", sent=5)
    (stats,) = client.stats()
    assert dataclasses.replace(stats, latency_p50=None, latency_p99=None, form="") == mb.Stats(
        "subscriber camera1", received=5
    )
