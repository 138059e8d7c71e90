"""The blocking API over the memory transport: how waiting is said, and how it ends."""

import inspect
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import eis.msgbus as mb
from eis.msgbus._waiting import Deadline
from tests.hub import new_hub
from tests.meeting import DEADLINE, threads, until

LONG = DEADLINE * 1000  # milliseconds


@pytest.fixture
def bus() -> Iterator[mb.MsgbusContext]:
    with mb.MsgbusContext(new_hub()) as bus:
        yield bus


class Asked:
    """Be a lock, and count who asks for it."""

    def __init__(self, lock: Any) -> None:
        self.asked = 0
        self._lock = lock

    def __enter__(self) -> None:
        self.asked += 1
        self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)


def is_waited_in(endpoint: Any) -> bool:
    return bool(endpoint._waiters)


# How a time limit is said


@pytest.mark.parametrize(
    "recv",
    [
        lambda subscriber: subscriber.recv(0),
        lambda subscriber: subscriber.recv(0.0),
        lambda subscriber: subscriber.recv(False),
        lambda subscriber: subscriber.recv(False, None),
        lambda subscriber: subscriber.recv(False, -1),
        lambda subscriber: subscriber.recv(blocking=False),
        lambda subscriber: subscriber.recv(timeout=0),
        lambda subscriber: subscriber.recv(timeout=None, blocking=False),
        lambda subscriber: subscriber.recv(-1, False),
        lambda subscriber: subscriber.recv(True, 0),
        lambda subscriber: subscriber.recv(None, False),
    ],
    ids=inspect.getsource,
)
def test_recv_returns_at_once_with_no_message(bus: mb.MsgbusContext, recv: Callable[[Any], Any]) -> None:
    with pytest.raises(mb.NoMessage) as caught:
        recv(bus.new_subscriber("t"))
    assert str(caught.value) == "subscriber t: no message is there"


@pytest.mark.parametrize(
    ("recv", "said"),
    [
        (lambda subscriber: subscriber.recv(20), "20 ms"),
        (lambda subscriber: subscriber.recv(timeout=20), "20 ms"),
        (lambda subscriber: subscriber.recv(True, 20), "20 ms"),
        (lambda subscriber: subscriber.recv(False, 20), "20 ms"),
        (lambda subscriber: subscriber.recv(20, True), "20 ms"),
        (lambda subscriber: subscriber.recv(timeout=20, blocking=False), "20 ms"),
        (lambda subscriber: subscriber.recv(0.5), "0.5 ms"),
    ],
    ids=lambda value: value if isinstance(value, str) else inspect.getsource(value),
)
def test_recv_waits_and_times_out(bus: mb.MsgbusContext, recv: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(mb.ReceiveTimeout) as caught:
        recv(bus.new_subscriber("t"))
    assert (type(caught.value), str(caught.value)) == (mb.ReceiveTimeout, f"subscriber t: no message within {said}")


@pytest.mark.parametrize(
    "recv",
    [
        lambda subscriber: subscriber.recv(),
        lambda subscriber: subscriber.recv(-1),
        lambda subscriber: subscriber.recv(True),
        lambda subscriber: subscriber.recv(None),
        lambda subscriber: subscriber.recv(timeout=None),
        lambda subscriber: subscriber.recv(timeout=-1, blocking=True),
        lambda subscriber: subscriber.recv(500 * 60),
        lambda subscriber: subscriber.recv(True, 500 * 60),
        lambda subscriber: subscriber.recv(3_000_000_000),
        lambda subscriber: subscriber.recv(float("inf")),
    ],
    ids=inspect.getsource,
)
def test_recv_waits_for_what_comes_later(bus: mb.MsgbusContext, recv: Callable[[Any], Any]) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    with threads() as pool:
        waiting = pool.submit(recv, subscriber)
        until(lambda: is_waited_in(subscriber))
        publisher.publish({"late": True})
        assert waiting.result(DEADLINE) == {"late": True}


@pytest.mark.parametrize("limit", ["500", b"500", [500]])
def test_recv_refuses_a_limit_that_is_no_number(bus: mb.MsgbusContext, limit: Any) -> None:
    subscriber = bus.new_subscriber("t")
    with pytest.raises(mb.MessageBusError, match=r"^timeout: expected milliseconds, got "):
        subscriber.recv(limit)
    with pytest.raises(mb.MessageBusError, match=r"^timeout: expected milliseconds, got "):
        subscriber.recv(timeout=limit)


def test_recv_refuses_a_truth_value_as_timeout(bus: mb.MsgbusContext) -> None:
    with pytest.raises(mb.MessageBusError, match="timeout: expected milliseconds, got bool True"):
        bus.new_subscriber("t").recv(timeout=True)


@pytest.mark.parametrize("limit", [0, False, -1, 500])
def test_recv_returns_a_message_that_is_there_whatever_the_limit(bus: mb.MsgbusContext, limit: Any) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    publisher.publish(({"n": 1}, b"one"))
    envelope = subscriber.recv(limit)
    assert (envelope.name, envelope.meta_data, envelope.blob) == ("t", {"n": 1}, b"one")


# Publish and subscribe


def test_messages_come_in_order_and_all_of_them(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    for number in range(200):
        publisher.publish({"n": number})
    assert [subscriber.recv(0)[0]["n"] for _ in range(200)] == list(range(200))


def test_envelope_can_be_published_again(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    publisher.publish(({"n": 1}, b"one", b"two"))
    received = subscriber.recv(0)
    publisher.publish(received)
    assert subscriber.recv(0) == received


def test_each_message_goes_to_one_thread_when_several_wait(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    with threads(4) as pool:
        waiting = [pool.submit(subscriber.recv, LONG) for _ in range(4)]
        until(lambda: len(subscriber._waiters) == 4)
        for number in range(4):
            publisher.publish({"n": number})
        assert sorted(each.result(DEADLINE)[0]["n"] for each in waiting) == [0, 1, 2, 3]


def test_messages_stay_in_order_when_another_thread_looks_while_some_are_taken(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    receive, others, first = subscriber._channel.receive, list[Future[Any]](), [True]
    turn: Any = Asked(subscriber._guard)
    with threads() as pool:

        def receive_and_be_overtaken() -> Any:
            messages = receive()
            if first and first.pop():
                for number in (3, 4):
                    publisher.publish({"n": number})
                others.append(pool.submit(subscriber.recv, 0))
                until(lambda: others[0].done() or turn.asked == 2)
            return messages

        monkeypatch.setattr(subscriber, "_guard", turn)
        monkeypatch.setattr(subscriber._channel, "receive", receive_and_be_overtaken)
        for number in (1, 2):
            publisher.publish({"n": number})
        mine = [subscriber.recv(0)[0]["n"]]
        theirs = others[0].result(DEADLINE)[0]["n"]
        mine += [subscriber.recv(0)[0]["n"] for _ in range(2)]
    assert (sorted([*mine, theirs]), mine) == ([1, 2, 3, 4], sorted(mine))


def test_thread_does_not_sleep_when_another_one_took_its_news_away_and_left_a_message(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriber, found = bus.new_subscriber("t"), list[Any]()
    one, two = ([b"t\0", b"\0", b"\1", b'{"n":%d}' % number] for number in (1, 2))
    left: deque[Any] = deque([[], [one], [two]])  # as of a socket whose descriptor is quiet, whatever is left in it
    monkeypatch.setattr(subscriber._channel, "receive", left.popleft)
    monkeypatch.setattr(subscriber, "_sleep", lambda *_: pytest.fail("it sleeps"))
    arrive = subscriber._arrive

    def arrive_too_late(waiter: object) -> None:
        found.append(subscriber.recv(0)[0]["n"])  # another thread's
        arrive(waiter)

    monkeypatch.setattr(subscriber, "_arrive", arrive_too_late)
    assert (subscriber.recv(LONG)[0]["n"], found) == (2, [1])


def test_threads_that_wait_look_again_when_another_one_took_all_that_was_found(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    refill, woken = subscriber._refill, list[bool]()
    monkeypatch.setattr(subscriber, "_refill", lambda: (refill(), subscriber.recv(0)))
    monkeypatch.setattr(subscriber._channel, "wake", lambda: woken.append(True))
    publisher.publish({})
    with pytest.raises(mb.NoMessage):
        subscriber.recv(0)
    monkeypatch.undo()
    assert len(woken) == 1


def test_publisher_waits_for_a_subscriber_that_comes_later(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("t")
    with threads() as pool:
        waiting = pool.submit(publisher.wait_for_subscribers, 2)
        until(lambda: is_waited_in(publisher))
        publisher.publish({"while": "waiting"})
        _subscribers = [bus.new_subscriber("t") for _ in range(2)]
        assert waiting.result(DEADLINE) is None


@pytest.mark.parametrize("timeout", [0, 10])
def test_publisher_times_out_when_too_few_subscribers_come(bus: mb.MsgbusContext, timeout: int) -> None:
    with pytest.raises(mb.ReceiveTimeout) as caught:
        bus.new_publisher("t").wait_for_subscribers(timeout=timeout)
    assert str(caught.value) == f"publisher t: expected 1 subscriber within {timeout} ms"


@pytest.mark.parametrize("count", ["1", 1.5, None])
def test_publisher_refuses_to_wait_for_what_is_no_number_of_subscribers(bus: mb.MsgbusContext, count: Any) -> None:
    with pytest.raises(mb.MessageBusError, match=f"^count: expected a number of subscribers, got {count!r}$"):
        bus.new_publisher("t").wait_for_subscribers(count)


def test_names_of_types_stand_without_an_argument(bus: mb.MsgbusContext) -> None:
    def received(subscriber: mb.Subscriber) -> mb.MsgEnvelope:  # for mypy --strict too
        return subscriber.recv(0)

    subscriber, publisher = bus.new_subscriber("t"), bus.new_publisher("t")
    publisher.publish({"n": 1})
    assert received(subscriber).meta_data["n"] == 1


@pytest.mark.parametrize("what", ["a context", "publisher t", "subscriber t", "service t", "requester t"])
def test_what_is_open_says_that_it_cannot_go_to_another_process(bus: mb.MsgbusContext, what: str) -> None:
    opened = {
        "a context": bus,
        "publisher t": bus.new_publisher("t"),
        "subscriber t": bus.new_subscriber("t"),
        "service t": bus.new_service("t"),
        "requester t": bus.get_service("t"),
    }
    with pytest.raises(TypeError, match=f"^{what} stays in its process: make a new "):
        pickle.dumps(opened[what])


# Request and response


def test_request_and_response_in_two_steps(bus: mb.MsgbusContext) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    requester.request(({"n": 1}, b"blob"))
    request = service.recv()
    service.response(request)
    reply = requester.recv()
    assert (request.name, reply.name) == ("echo", "echo")
    assert reply == ({"n": 1}, b"blob")


def test_request_returns_the_reply_in_one_call_when_it_has_a_timeout(bus: mb.MsgbusContext) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    with threads() as pool:
        pool.submit(lambda: service.response(service.recv(LONG)))
        assert requester.request({"n": 1}, timeout=LONG) == {"n": 1}


@pytest.mark.parametrize("timeout", [-1, 3_000_000_000, float("inf")])
def test_request_waits_as_long_as_it_takes_when_its_timeout_is_endless(bus: mb.MsgbusContext, timeout: float) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    with threads() as pool:
        pool.submit(lambda: service.response(service.recv(LONG)))
        assert requester.request({"n": 1}, timeout=timeout) == {"n": 1}


def test_request_works_again_after_a_timeout_and_never_gets_the_old_reply(bus: mb.MsgbusContext) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    with pytest.raises(mb.ReceiveTimeout) as caught:
        requester.request({"n": "old"}, timeout=10)
    service.response(service.recv(0))
    with threads() as pool:
        pool.submit(lambda: service.response(service.recv(LONG)))
        assert requester.request({"n": "new"}, timeout=LONG) == {"n": "new"}
    assert str(caught.value) == "requester echo: no message within 10 ms"


def test_second_request_replaces_the_first(bus: mb.MsgbusContext) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    requester.request({"n": 1})
    requester.request({"n": 2})
    for _ in range(2):
        service.response(service.recv(0))
    assert requester.recv(0) == {"n": 2}
    with pytest.raises(mb.MessageBusError, match="requester echo: no request was sent that waits for a reply"):
        requester.recv(0)


def test_requests_of_several_threads_take_turns_and_each_gets_its_own_reply(bus: mb.MsgbusContext) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")

    def serve() -> None:
        for request in service:
            service.response(request)

    with threads(5) as pool:
        pool.submit(serve)
        replies = list(pool.map(lambda n: requester.request({"n": n}, timeout=LONG)[0]["n"], range(40)))
        service.close()
    assert replies == list(range(40))


def test_request_times_out_when_another_thread_has_the_turn(bus: mb.MsgbusContext) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    with threads() as pool:
        first = pool.submit(requester.request, {"n": 1}, LONG)
        until(lambda: is_waited_in(requester))
        with pytest.raises(mb.ReceiveTimeout, match="requester echo: no message within 10 ms"):
            requester.request({"n": 2}, timeout=10)
        service.response(service.recv(LONG))
        assert first.result(DEADLINE) == {"n": 1}


def test_requester_learns_that_its_service_went_away(bus: mb.MsgbusContext) -> None:
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    with threads() as pool:
        waiting = pool.submit(requester.request, {}, LONG)
        until(lambda: is_waited_in(requester))
        service.close()
        with pytest.raises(mb.Disconnected, match="service echo went away before it replied"):
            waiting.result(DEADLINE)


# Closing


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda bus: bus.new_publisher("t"), "publisher t is closed"),
        (lambda bus: bus.new_subscriber("t"), "subscriber t is closed"),
        (lambda bus: bus.new_service("t"), "service t is closed"),
        (lambda bus: bus.get_service("t"), "requester t is closed"),
    ],
)
def test_endpoint_says_that_it_is_closed_when_used_after_it(bus: mb.MsgbusContext, use: Any, text: str) -> None:
    with use(bus) as endpoint:
        pass
    endpoint.close()
    calls: dict[str, tuple[Any, ...]] = {
        "publish": ({},),
        "wait_for_subscribers": (),
        "recv": (),
        "response": ({},),
        "request": ({},),
    }
    used = [name for name in calls if hasattr(endpoint, name)]
    for name in used:
        with pytest.raises(mb.MessageBusError) as caught:
            getattr(endpoint, name)(*calls[name])
        assert str(caught.value) == text
    assert used


def test_request_with_a_timeout_says_that_the_requester_is_closed(bus: mb.MsgbusContext) -> None:
    requester = bus.get_service("t")
    requester.close()
    with pytest.raises(mb.MessageBusError, match=r"^requester t is closed$"):
        requester.request({}, timeout=LONG)


def test_messages_that_were_not_read_are_gone_when_the_subscriber_is_closed(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    for _ in range(3):
        publisher.publish({})
    subscriber.recv(0)
    subscriber.close()
    with pytest.raises(mb.MessageBusError, match=r"^subscriber t is closed$"):
        subscriber.recv(0)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["new_subscriber", "new_service"])
def test_waiting_ends_when_another_thread_closes_the_endpoint(bus: mb.MsgbusContext, kind: str, count: int) -> None:
    endpoint = getattr(bus, kind)("t")
    with threads(count) as pool:
        waiting = [pool.submit(endpoint.recv) for _ in range(count)]
        until(lambda: len(endpoint._waiters) == count)
        endpoint.close()
        for each in waiting:
            with pytest.raises(mb.MessageBusError, match=f"^{endpoint.kind} t is closed$"):
                each.result(DEADLINE)


@pytest.mark.parametrize(
    ("kind", "look", "wait"),
    [
        ("new_subscriber", "receive", lambda endpoint: endpoint.recv(LONG)),
        ("new_publisher", "subscribers", lambda endpoint: endpoint.wait_for_subscribers(5, LONG)),
    ],
)
def test_waiting_ends_when_the_endpoint_is_closed_just_before_it_looks_for_news(
    bus: mb.MsgbusContext, monkeypatch: pytest.MonkeyPatch, kind: str, look: str, wait: Callable[[Any], Any]
) -> None:
    endpoint = getattr(bus, kind)("t")
    original = getattr(endpoint._channel, look)

    def close_and_look() -> Any:
        if is_waited_in(endpoint):
            endpoint.close()  # another thread's: it wakes whoever waits, and looking takes that wake away
            return original()
        found = original()
        endpoint._channel.wake()  # so that there is another look, by a thread that waits
        return found

    monkeypatch.setattr(endpoint._channel, look, close_and_look)
    deadline = Deadline(DEADLINE / 2)
    with pytest.raises(mb.MessageBusError, match=f"^{endpoint.kind} t is closed$"):
        wait(endpoint)
    assert deadline.left() != 0  # it did not end with the time limit


def test_waiting_ends_when_another_thread_closes_the_context() -> None:
    bus = mb.MsgbusContext(new_hub())
    subscriber, publisher = bus.new_subscriber("t"), bus.new_publisher("t")
    with threads(2) as pool:
        calls: tuple[Callable[[], Any], ...] = (subscriber.recv, lambda: publisher.wait_for_subscribers(5))
        waiting = [pool.submit(call) for call in calls]
        until(lambda: is_waited_in(subscriber) and is_waited_in(publisher))
        bus.close()
        texts = [str(each.exception(DEADLINE)) for each in waiting]
    assert texts == [
        "subscriber t is closed",
        "publisher t is closed",
    ]


def test_iteration_yields_every_message_and_ends_when_the_subscriber_is_closed(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    seen: list[int] = []

    def read() -> None:
        seen.extend(envelope[0]["n"] for envelope in subscriber)

    with threads() as pool:
        reading = pool.submit(read)
        for number in range(5):
            publisher.publish({"n": number})
        until(lambda: subscriber.stats.received == 5 and is_waited_in(subscriber))
        subscriber.close()
        reading.result(DEADLINE)
    assert seen == [0, 1, 2, 3, 4]


def test_iteration_ends_when_the_subscriber_is_closed_within_it(bus: mb.MsgbusContext) -> None:
    publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
    publisher.publish({})
    publisher.publish({})
    seen = 0
    for _ in subscriber:
        seen += 1
        subscriber.close()
    assert seen == 1


def test_iteration_over_a_closed_subscriber_yields_nothing(bus: mb.MsgbusContext) -> None:
    subscriber = bus.new_subscriber("t")
    subscriber.close()
    assert list(subscriber) == []


def test_context_is_opened_with_the_path_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'type = "memory"\nhub = "{new_hub()["hub"]}"\n')
    with mb.MsgbusContext(tmp_path / "config.toml") as bus:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        publisher.publish({"n": 1})
        assert subscriber.recv(0) == {"n": 1}


def test_context_refuses_an_unknown_type() -> None:
    with pytest.raises(mb.InvalidConfig, match="config type: expected one of memory, zmq_ipc, zmq_tcp, got 'zmq_icp'"):
        mb.MsgbusContext({"type": "zmq_icp"})


@pytest.mark.parametrize("timeout", ["x", True, float("nan")])
def test_time_limit_that_is_no_number_is_an_error_in_every_call(bus: mb.MsgbusContext, timeout: Any) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: bus.new_subscriber("t").recv(timeout=timeout),
        lambda: bus.new_publisher("t").wait_for_subscribers(1, timeout=timeout),
        lambda: bus.get_service("t").request({}, timeout=timeout),
    )
    for call in calls:
        with pytest.raises(mb.MessageBusError, match=r"^timeout: expected milliseconds, got "):
            call()


def test_time_limit_that_nobody_sees_the_end_of_is_none(bus: mb.MsgbusContext) -> None:
    subscriber = bus.new_subscriber("t")
    with threads(1) as pool:
        waiting = pool.submit(subscriber.recv, 10**400)
        until(lambda: is_waited_in(subscriber))
        bus.new_publisher("t").publish({"n": 1})
        assert waiting.result(DEADLINE).meta_data == {"n": 1}
