"""Networks that are slow, or gone: nothing is cut that still moves, and what is gone is noticed."""

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import eis.msgbus as mb
from eis.msgbus.transports.zmq import plan as plans
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import running, tcp_sides, until

FRAME = bytes(range(256)) * 24_300  # 6.2 MB, as one of 1080p


class Slow:
    """Forward connections; what the server says goes at so many bytes in a second."""

    def __init__(self, port: int, rate: int) -> None:
        self.connections = 0
        self._to, self._rate = port, rate
        self._stop = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.05)
        self.port = self._server.getsockname()[1]

    def serve(self) -> None:
        with self._server, contextlib.ExitStack() as stack:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    self._forward(self._server.accept()[0], stack)

    def _forward(self, client: socket.socket, stack: contextlib.ExitStack) -> None:
        self.connections += 1
        server = socket.create_connection(("127.0.0.1", self._to))
        for each in (client, server):
            stack.callback(each.close)
        for pipe in ((client, server, 0), (server, client, self._rate)):
            stack.enter_context(running(lambda pipe=pipe: self._pump(*pipe)))  # type: ignore[misc]

    def _pump(self, source: socket.socket, sink: socket.socket, rate: int) -> None:
        source.settimeout(0.1)
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError, ConnectionError):
                if not (data := source.recv(16384)):
                    return
                sink.sendall(data)
                if rate:
                    self._stop.wait(len(data) / rate)

    def stop(self) -> None:
        self._stop.set()


@contextlib.contextmanager
def slow_link(port: int, rate: int) -> Iterator[Slow]:
    link = Slow(port, rate)
    with running(link.serve):
        yield link
        link.stop()


def test_large_frame_passes_a_slow_link_in_one_go(free_ports: Callable[[int], list[int]], opened: Open) -> None:
    ports = free_ports(2)
    sides = tcp_sides(ports, "curve")
    publisher = opened({**sides.server, "zmq_recv_hwm": 1}).new_publisher("camera1")
    with slow_link(ports[0], 1_000_000) as link:
        client = {**sides.client, "camera1": {**sides.client["camera1"], "port": link.port}}
        with mb.MsgbusContext(client) as bus:
            subscriber = bus.new_subscriber("camera1")
            publisher.wait_for_subscribers(1, 10000)
            publisher.publish(FRAME)
            publisher.publish({"n": 1})
            assert subscriber.recv(20000).blob == FRAME
            assert subscriber.recv(5000).meta_data == {"n": 1}
            assert (link.connections, subscriber.stats.reconnects) == (1, 0)


def test_host_that_does_not_answer_at_all_is_tried_again(
    tcp_port: int, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "CONNECT", ((plans.CONNECT[0][0], 300),))
    with contextlib.ExitStack() as held:
        server = held.enter_context(socket.socket())
        server.bind(("127.0.0.1", tcp_port))
        server.listen(0)
        for _ in range(4):  # so many wait to be accepted that the system answers nobody any more
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", tcp_port))
        subscriber = opened(tcp_sides([tcp_port, tcp_port], "tcp").client).new_subscriber("camera1")
        until(lambda: subscriber.status.reason == "nobody is there")


GONE = """
import subprocess
from eis.msgbus.transports.zmq import plan as plans
times = dict(zip([option for option, _ in plans.KEEPALIVE], KEEP))
plans.KEEPALIVE = tuple(times.items())
def ip(*words):
    subprocess.run(["ip", *words], check=True)
ip("link", "set", "lo", "up")
with mb.MsgbusContext(config["server"]) as server, mb.MsgbusContext(config["client"]) as client:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    news = threading.Condition()
    states = []
    def take(status):
        with news:
            states.append(status.state)
            news.notify_all()
    subscriber.on_event(take)
    publisher.wait_for_subscribers(1, 10000)
    publisher.publish({})
    subscriber.recv(10000)  # now nothing is under way from the subscriber
    ip("link", "set", "lo", "down")
    with news:
        print("noticed", news.wait_for(lambda: "reconnecting" in states, SECONDS), flush=True)
    ip("link", "set", "lo", "up")
    with news:
        print("back", news.wait_for(lambda: subscriber.status.state == "connected", 8), flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a network of its own needs root")
@pytest.mark.parametrize(
    ("times", "seconds", "noticed"), [("(1, 1, 1, 2)", "15", "True"), ("(0, 1, 1, 2)", "5", "False")]
)
def test_network_that_is_gone_is_noticed_because_the_connection_is_kept_alive(
    start: Start, times: str, seconds: str, noticed: str
) -> None:
    sides = tcp_sides([5555, 5556], "tcp")  # nobody else is in that network
    config = {"server": sides.server, "client": sides.client}
    code = GONE.replace("KEEP)", f"{times})").replace("SECONDS", seconds)
    program = start(code, config, before=("unshare", "-n"))
    program.line(f"noticed {noticed}", 20)
    program.line("back True", 20)
    program.ends()
