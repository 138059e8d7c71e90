"""Several threads or tasks serve one service, in every mode: each client gets its own replies."""

import asyncio
from typing import Any

import zmq

import eis.msgbus as mb
from eis.msgbus import aio
from tests.meeting import DEADLINE, threads
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import Sides

CLIENTS, WORKERS, REQUESTS = 6, 4, 50


def test_threads_serve_several_clients_at_once(server: mb.MsgbusContext, client: mb.MsgbusContext) -> None:
    service = server.new_service("echo")

    def work() -> int:
        count = 0
        for request in service:
            service.response(({"re": request.meta_data}, *request.views))
            count += 1
        return count

    def ask(number: int) -> list[Any]:
        with client.get_service("echo") as requester:
            return [
                requester.request({"of": number, "n": n}, timeout=DEADLINE * 1000).meta_data for n in range(REQUESTS)
            ]

    with threads(WORKERS) as workers, threads(CLIENTS) as clients:
        working = [workers.submit(work) for _ in range(WORKERS)]
        replies = list(clients.map(ask, range(CLIENTS), timeout=DEADLINE * 2))
        service.close()
        served = sum(each.result(DEADLINE) for each in working)
    assert replies == [[{"re": {"of": number, "n": n}} for n in range(REQUESTS)] for number in range(CLIENTS)]
    assert served == CLIENTS * REQUESTS


def test_tasks_serve_several_clients_at_once(sides: Sides) -> None:
    async def main() -> None:
        async with aio.MsgbusContext(sides.server) as server, aio.MsgbusContext(sides.client) as client:
            service, last = server.new_service("echo"), asyncio.Event()
            handling: list[asyncio.Task[None]] = []

            async def handle(request: mb.MsgEnvelope[Any]) -> None:
                await last.wait()  # all are in flight before the first is answered
                service.response({"re": request.meta_data})

            async def serve() -> None:
                async for request in service:
                    handling.append(asyncio.create_task(handle(request)))
                    if len(handling) == CLIENTS:
                        last.set()

            serving = asyncio.create_task(serve())
            asked = [client.get_service("echo").request({"n": number}) for number in range(CLIENTS)]
            replies = await asyncio.gather(*asked)
            assert [reply.meta_data for reply in replies] == [{"re": {"n": n}} for n in range(CLIENTS)]
            service.close()
            await asyncio.gather(serving, *handling)

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_refused_request_of_one_client_costs_the_others_nothing(plain_sides: Sides, opened: Open, raw: Raw) -> None:
    service, client = opened(plain_sides.server).new_service("echo"), opened(plain_sides.client).get_service("echo")
    client.request({"n": 1})
    assert service.recv(5000).meta_data == {"n": 1}
    stranger = raw(zmq.REQ, connect=plain_sides.service)
    stranger.send_multipart([b"echo\0", b"\0", b"\7", b"{}"])
    with threads() as pool:
        pool.submit(lambda: service.recv(1)).exception(DEADLINE)
        while not stranger.poll(0):
            pool.submit(lambda: service.recv(10)).exception(DEADLINE)
    service.response({"re": 1})
    assert client.recv(5000).meta_data == {"re": 1}
    assert b"refuses the request" in stranger.recv_multipart()[3]
