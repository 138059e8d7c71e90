"""A requester never sticks, and an old reply never answers a new request."""

import os
import signal
from collections.abc import Callable

import pytest
import zmq

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open, Raw, Start
from tests.transports.zmq.helpers import Sides, running

ECHO = """
with mb.MsgbusContext(config) as bus:
    service = bus.new_service("echo")
    print("ready")
    for request in service:
        if request.meta_data["n"] == "hang":
            print("got it")
            continue
        service.response({"pid": os.getpid(), **request.meta_data})
"""


def test_request_works_after_a_reply_was_lost(sides: Sides, opened: Open) -> None:
    service, requester = opened(sides.server).new_service("echo"), opened(sides.client).get_service("echo")
    for number in range(3):
        with pytest.raises(mb.ReceiveTimeout):
            requester.request({"n": "lost"}, timeout=20)
        assert service.recv(5000).meta_data == {"n": "lost"}
        with running(lambda: service.response(service.recv(5000))):
            assert requester.request({"n": number}, timeout=5000).meta_data == {"n": number}


def test_late_reply_is_never_the_reply_to_a_new_request(sides: Sides, opened: Open) -> None:
    service, requester = opened(sides.server).new_service("echo"), opened(sides.client).get_service("echo")
    requester.request({"n": "old"})
    old = service.recv(5000)
    requester.request({"n": "new"})
    service.response(old)
    service.response(service.recv(5000))
    assert requester.recv(5000).meta_data == {"n": "new"}


def test_late_reply_answers_its_own_request_when_no_other_was_sent(sides: Sides, opened: Open) -> None:
    service, requester = opened(sides.server).new_service("echo"), opened(sides.client).get_service("echo")
    with pytest.raises(mb.ReceiveTimeout):
        requester.request({"n": "slow"}, timeout=1)
    service.response(service.recv(5000))
    assert requester.recv(5000).meta_data == {"n": "slow"}


def test_requester_is_told_when_the_service_closes_before_it_replied(sides: Sides, opened: Open) -> None:
    requester = opened(sides.client).get_service("echo")
    with opened(sides.server).new_service("echo") as service:
        requester.request({"n": 1})
        service.recv(5000)
    with pytest.raises(mb.Disconnected, match="went away before it replied"):
        requester.recv(5000)
    service = opened(sides.server).new_service("echo")
    with running(lambda: service.response(service.recv(10000))):
        assert requester.request({"n": 2}, timeout=10000).meta_data == {"n": 2}


def test_request_works_after_the_service_was_closed_and_opened_in_between(sides: Sides, opened: Open) -> None:
    requester = opened(sides.client).get_service("echo")
    for number in range(3):
        service = opened(sides.server).new_service("echo")
        with service, running(lambda service=service: service.response(service.recv(9000))):  # type: ignore[misc]
            assert ask(requester, number) == {"n": number}
    assert requester.stats.reconnects >= 1


def ask(requester: mb.Requester, number: int) -> object:
    try:
        return requester.request({"n": number}, timeout=9000).meta_data
    except mb.Disconnected:  # the loss was noticed only now
        return requester.request({"n": number}, timeout=9000).meta_data


def test_requester_goes_on_when_the_service_is_killed_in_the_middle_of_a_request(
    sides: Sides, opened: Open, start: Start
) -> None:
    requester = opened(sides.client).get_service("echo")
    killed = start(ECHO, sides.server)
    killed.line("ready")
    assert requester.request({"n": 1}, timeout=10000).meta_data == {"n": 1, "pid": killed.process.pid}
    requester.request({"n": "hang"})
    killed.line("got it")
    os.kill(killed.process.pid, signal.SIGKILL)
    with pytest.raises(mb.Disconnected):
        requester.recv(10000)
    again = start(ECHO, sides.server)
    assert requester.request({"n": 2}, timeout=20000).meta_data == {"n": 2, "pid": again.process.pid}


def test_waiting_recv_gets_the_reply_when_another_thread_sends_the_request_anew(
    plain_sides: Sides, opened: Open
) -> None:
    service, requester = opened(plain_sides.server).new_service("echo"), opened(plain_sides.client).get_service("echo")
    requester.request({"n": "lost"})
    service.recv(5000)
    replies: list[object] = []
    with running(lambda: replies.append(requester.recv(10000).meta_data)):
        requester.request({"n": "new"})
        service.response(service.recv(5000))
    assert replies == [{"n": "new"}]


def test_request_works_when_the_one_before_met_a_stranger_that_never_replies(
    make_sides: Callable[[str], Sides], raw: Raw, opened: Open
) -> None:
    sides = make_sides("tcp")
    requester = opened(sides.client).get_service("echo")
    router = raw(zmq.ROUTER, bind=sides.service)
    requester.request({"n": 1})
    router.recv_multipart()
    router.close()
    with pytest.raises(mb.Disconnected):
        requester.recv(5000)
    service = opened(sides.server).new_service("echo")
    with running(lambda: service.response(service.recv(10000))):
        assert requester.request({"n": 2}, timeout=10000).meta_data == {"n": 2}


def test_requester_keeps_its_time_limit_when_it_holds_off(plain_sides: Sides, opened: Open) -> None:
    requester = opened(plain_sides.client).get_service("echo")
    requester._channel.link.hold_off()  # type: ignore[attr-defined]
    with pytest.raises(mb.ReceiveTimeout):
        requester.request({"n": 1}, timeout=20)


def test_request_goes_out_later_when_the_requester_holds_off(plain_sides: Sides, opened: Open) -> None:
    service, requester = opened(plain_sides.server).new_service("echo"), opened(plain_sides.client).get_service("echo")
    link = requester._channel.link  # type: ignore[attr-defined]
    link.hold_off()
    requester.request({"n": 1})
    link.connect_anew()
    with running(lambda: service.response(service.recv(10000))):
        assert requester.recv(10000).meta_data == {"n": 1}
