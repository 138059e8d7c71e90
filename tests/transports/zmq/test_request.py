"""Requests and responses, blocking, in every mode."""

import dataclasses

import pytest

import eis.msgbus as mb
from tests.transports.zmq.helpers import running


def answer(service: mb.Service, count: int) -> None:
    for _ in range(count):
        request = service.recv(10000)
        service.response(({"got": request.meta_data}, *request.views))


def test_request_is_answered_in_one_call(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    service, requester = server.new_service("echo"), client.get_service("echo")
    with running(lambda: answer(service, 20)):
        for number in range(20):
            reply = requester.request(({"n": number}, b"blob"), timeout=5000)
            assert (reply.name, reply.meta_data, reply.blob) == ("echo", {"got": {"n": number}}, b"blob")


def test_requests_are_answered_when_they_come_one_behind_the_other(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    service, requester = server.new_service("echo"), client.get_service("echo")

    def serve() -> None:
        for _ in range(200):
            service.response(service.recv(5000))

    with running(serve):
        for number in range(200):
            assert requester.request({"n": number}, timeout=5000).meta_data == {"n": number}


def test_request_is_answered_in_two_steps(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    service, requester = server.new_service("echo"), client.get_service("echo")
    with running(lambda: answer(service, 2)):
        for number in range(2):
            requester.request({"n": number})
            assert requester.recv(5000).meta_data == {"got": {"n": number}}


def test_each_requester_gets_its_own_reply_when_several_ask_at_once(
    server: mb.MsgbusContext, client: mb.MsgbusContext
) -> None:
    service = server.new_service("echo")
    requesters = [client.get_service("echo") for _ in range(4)]
    with running(lambda: answer(service, 4)):
        for number, requester in enumerate(requesters):
            requester.request({"n": number})
        replies = [requester.recv(5000).meta_data for requester in requesters]
    assert replies == [{"got": {"n": number}} for number in range(4)]


def test_large_blob_goes_there_and_back(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    service, requester = server.new_service("echo"), client.get_service("echo")
    blob = bytes(range(256)) * 10_000
    with running(lambda: answer(service, 1)):
        assert requester.request(blob, timeout=10000).blob == blob


def test_request_waits_for_a_service_that_opens_later(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    requester = client.get_service("echo")
    requester.request({"n": 1})
    with pytest.raises(mb.ReceiveTimeout):
        requester.recv(50)
    service = server.new_service("echo")
    with running(lambda: answer(service, 1)):
        assert requester.recv(10000).meta_data == {"got": {"n": 1}}


def test_response_is_an_error_without_a_request(server: mb.MsgbusContext) -> None:
    service = server.new_service("echo")
    with pytest.raises(mb.MessageBusError, match="service echo: no request was received that waits for a response"):
        service.response({})


def test_second_response_is_an_error_and_nothing_is_sent(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    service, requester = server.new_service("echo"), client.get_service("echo")
    requester.request({"n": 1})
    service.recv(5000)
    service.response({"n": 1})
    with pytest.raises(mb.MessageBusError, match="no request was received"):
        service.response({"n": 2})
    assert requester.recv(5000).meta_data == {"n": 1}
    assert service.stats.sent == 1


def test_recv_of_a_requester_is_an_error_without_a_request(client: mb.MsgbusContext) -> None:
    requester = client.get_service("echo")
    with pytest.raises(mb.MessageBusError, match="requester echo: no request was sent that waits for a reply"):
        requester.recv(100)


def test_stats_count_requests_and_replies(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    service, requester = server.new_service("echo"), client.get_service("echo")
    with running(lambda: answer(service, 3)):
        for _ in range(3):
            requester.request({}, timeout=5000)
    assert dataclasses.replace(service.stats, clients={}) == mb.Stats("service echo", sent=3, received=3)
    assert requester.stats == mb.Stats("requester echo", sent=3, received=3)
