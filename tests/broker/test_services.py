"""Requests through a broker: shared by several services, given to one of them once, and answered to who asked."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus.broker import Broker, Service, ServiceStats, Settings
from eis.msgbus.broker.asking import Asking
from eis.msgbus.broker.waiting import Taker, Waiting
from eis.msgbus.transports.zmq.access import AccessControl
from tests.broker.conftest import BROKER
from tests.meeting import until
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import running

ASKING, SERVING, STRANGER = (keys.new_key_pair() for _ in range(3))

Config = dict[str, Any]
Ports = Callable[[int], list[int]]

ECHO = """
import json, sys
import eis.msgbus as mb
config, name = json.loads(sys.argv[1]), sys.argv[2]
with mb.MsgbusContext(config) as bus, bus.new_service("echo") as service:
    print("ready", flush=True)
    for request in service:
        if name == "held":
            print("has it", flush=True)
            sys.stdin.readline()
        metadata = {"by": name, **request.meta_data}
        service.response(metadata if request.blob is None else (metadata, request.blob))
"""


class Echo:
    """A service in a process of its own, which says who it is; `held` answers when it is told to."""

    def __init__(self, config: Config, name: str) -> None:
        command = [sys.executable, "-c", ECHO, json.dumps(config), name]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ)
        assert self.line() == "ready\n"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)


Run = Callable[[Config, str], Echo]
Serve = Callable[..., Broker]


@pytest.fixture
def run() -> Iterator[Run]:
    with ExitStack() as stack:
        yield lambda config, name: stack.enter_context(closing(Echo(config, name)))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(frontend, backends, timeout=..., queue=...)`: a broker of the service `echo`, closed after the test."""
    with ExitStack() as stack:

        def started(frontend: Config, backends: list[Config], **more: int) -> Broker:
            service = Service("echo", frontend, tuple(backends), **more)
            return stack.enter_context(Broker(Settings(None, None, services=(service,))))

        yield started


def at(directory: Path, file: str, **more: Any) -> Config:
    return {"type": "zmq_ipc", "socket_dir": str(directory), "echo": {"socket_file": file}, **more}


def stats(broker: Broker) -> ServiceStats:
    return broker.stats.services["echo"]


def connected(broker: Broker, count: int) -> None:
    until(lambda: [each.state for each in stats(broker).backends].count("connected") == count)


def asked(config: Config, count: int) -> Counter[str]:
    """Ask so many questions one after another; who has answered how many."""
    with mb.MsgbusContext(config) as bus, bus.get_service("echo") as requester:
        return Counter(answer_of(requester, number) for number in range(count))


def answer_of(requester: mb.Requester, number: int) -> str:
    blob = bytes([number % 256]) * 10
    reply = requester.request(({"n": number}, blob), timeout=20_000)
    assert (reply.meta_data["n"], reply.blob) == (number, blob)
    return str(reply.meta_data["by"])


def test_two_services_share_the_load_and_a_dead_one_is_left_out_until_it_is_back(
    socket_dir: Path, serve: Serve, run: Run
) -> None:
    one, other = at(socket_dir, "one"), at(socket_dir, "other")
    broker = serve(at(socket_dir, "echo"), [one, other])
    run(one, "one")
    dying = run(other, "other")
    connected(broker, 2)
    assert is_shared(asked(at(socket_dir, "echo"), 20))
    dying.process.send_signal(signal.SIGKILL)
    connected(broker, 1)
    assert asked(at(socket_dir, "echo"), 10) == {"one": 10}
    run(other, "other")
    connected(broker, 2)
    assert is_shared(asked(at(socket_dir, "echo"), 20))
    until(lambda: stats(broker).answered == stats(broker).requests == 50)
    assert sum(each.answered for each in stats(broker).backends) == 50


def is_shared(answers: Counter[str]) -> bool:
    """Tell whether both did their part: in turn, but for who is late to be idle again on a busy machine."""
    return answers.keys() == {"one", "other"} and min(answers.values()) >= 4


def test_each_requester_gets_its_own_replies_when_many_ask_at_once_over_ipc_and_guarded_tcp(
    socket_dir: Path, free_ports: Ports, serve: Serve, run: Run, opened: Open
) -> None:
    front, back = free_ports(2)
    host = {"type": "zmq_tcp"}, {"host": "127.0.0.1"}
    frontend = host[0] | {
        "echo": host[1] | {"port": front, "server_secret_key": BROKER.secret},
        "allowed_clients": [ASKING.public],
    }
    guarded = host[0] | {
        "echo": host[1] | {"port": back, "server_secret_key": SERVING.secret},
        "allowed_clients": [BROKER.public],
    }
    broker = serve(frontend, [at(socket_dir, "one"), client(back, SERVING, BROKER)])
    run(at(socket_dir, "one"), "one")
    run(guarded, "other")
    connected(broker, 2)
    answers: list[Counter[str]] = []
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(running(lambda: answers.append(asked(client(front, BROKER, ASKING), 50))))
    total = sum(answers, Counter())
    assert total.total() == 200
    assert min(total["one"], total["other"]) > 20
    with pytest.raises(mb.MessageBusAuthenticationFailed):
        opened(client(front, BROKER, STRANGER)).get_service("echo").request({}, timeout=20_000)
    until(lambda: (stats(broker).requests, stats(broker).answered) == (200, 200))


def client(port: int, server: keys.KeyPair, own: keys.KeyPair) -> Config:
    entry = {
        "host": "127.0.0.1",
        "port": port,
        "server_public_key": server.public,
        "client_public_key": own.public,
        "client_secret_key": own.secret,
    }
    return {"type": "zmq_tcp", "echo": entry}


def test_request_whose_service_dies_is_lost_and_executed_by_no_other(
    socket_dir: Path, serve: Serve, run: Run, opened: Open
) -> None:
    broker = serve(at(socket_dir, "echo"), [at(socket_dir, "held"), at(socket_dir, "other")])
    held = run(at(socket_dir, "held"), "held")
    connected(broker, 1)
    requester = opened(at(socket_dir, "echo")).get_service("echo")
    requester.request({"n": 1})
    assert held.line() == "has it\n"
    run(at(socket_dir, "other"), "other")
    connected(broker, 2)
    held.process.send_signal(signal.SIGKILL)
    until(lambda: stats(broker).lost == 1)
    with pytest.raises(mb.ReceiveTimeout):
        requester.recv(200)
    assert answer_of(requester, 2) == "other"  # nobody else's, and not that of before
    until(lambda: (stats(broker).requests, stats(broker).answered) == (2, 1))


def test_late_answer_is_given_to_nobody_and_its_service_takes_no_request_meanwhile(
    socket_dir: Path, serve: Serve, run: Run, opened: Open
) -> None:
    broker = serve(at(socket_dir, "echo"), [at(socket_dir, "held"), at(socket_dir, "other")], timeout=3000)
    held = run(at(socket_dir, "held"), "held")
    connected(broker, 1)
    first = opened(at(socket_dir, "echo")).get_service("echo")
    first.request({"n": 1})
    assert held.line() == "has it\n"
    until(lambda: stats(broker).backends[0].state == "silent")
    assert stats(broker).unanswered == 1
    run(at(socket_dir, "other"), "other")
    connected(broker, 1)
    assert asked(at(socket_dir, "echo"), 3) == {"other": 3}
    held.go_on()
    connected(broker, 2)
    with pytest.raises(mb.ReceiveTimeout):
        first.recv(200)
    until(lambda: stats(broker).answered == 3)


def test_requests_wait_for_a_service_but_neither_too_many_nor_too_long(
    socket_dir: Path, serve: Serve, run: Run, opened: Open
) -> None:
    one = at(socket_dir, "one")
    broker = serve(at(socket_dir, "echo", queue_bytes=10_000), [one], timeout=5000, queue=3)
    requesters = [opened(at(socket_dir, "echo")).get_service("echo") for _ in range(5)]
    for number, size in enumerate((1, 6000, 6000, 1, 1)):
        requesters[number].request(({"n": number}, bytes(size)))
        until(lambda number=number: stats(broker).requests == number + 1)  # type: ignore[misc]
    assert (stats(broker).waiting, stats(broker).refused) == (3, 2)
    until(lambda: stats(broker).expired == 3)
    run(one, "one")
    assert asked(at(socket_dir, "echo"), 1) == {"one": 1}
    until(lambda: (stats(broker).waiting, stats(broker).answered) == (0, 1))


def test_way_back_of_a_request_that_waits_takes_its_room_too(socket_dir: Path, serve: Serve, raw: Raw) -> None:
    broker = serve(at(socket_dir, "echo", queue_bytes=100_000), [at(socket_dir, "one")])
    dealer = raw(zmq.DEALER, connect=f"ipc://{socket_dir}/echo")
    for _ in range(4):
        dealer.send_multipart([bytes(40_000), b"", b"echo\0", b"\0", b"\1", b"{}"])
    until(lambda: stats(broker).requests == 4)
    assert (stats(broker).waiting, stats(broker).refused) == (2, 2)


def test_what_is_no_message_reaches_no_service(socket_dir: Path, serve: Serve, raw: Raw, opened: Open) -> None:
    one = at(socket_dir, "one")
    broker = serve(at(socket_dir, "echo"), [one])
    service = opened(one).new_service("echo")
    for wrong in ([b"x"], [b"echo\0", b"\0", b"\5", b"{}"], [b"echo\0", b"\7", b"\1", b"{}"]):
        raw(zmq.REQ, connect=f"ipc://{socket_dir}/echo").send_multipart(wrong)
    raw(zmq.DEALER, connect=f"ipc://{socket_dir}/echo").send(b"without an empty frame")
    until(lambda: stats(broker).malformed == 4)
    with pytest.raises(mb.NoMessage):
        service.recv(0)
    assert stats(broker).requests == 4


def test_what_is_larger_than_a_side_takes_is_given_up_and_the_next_request_works(
    socket_dir: Path, serve: Serve, run: Run, opened: Open
) -> None:
    one = at(socket_dir, "one")
    broker = serve(at(socket_dir, "echo"), [one | {"max_message_bytes": 1000}])
    run(one, "one")
    connected(broker, 1)
    requester = opened(at(socket_dir, "echo")).get_service("echo")
    requester.request(({}, bytes(2000)))
    until(lambda: stats(broker).malformed == 1)
    assert answer_of(requester, 3) == "one"


def test_counts_of_how_requests_ended_are_together_those_that_came(
    socket_dir: Path, serve: Serve, run: Run, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = serve(at(socket_dir, "echo"), [at(socket_dir, "held")], timeout=20_000, queue=1)
    held = run(at(socket_dir, "held"), "held")
    connected(broker, 1)
    request = [b"echo\0", b"\0", b"\1", b"{}"]
    asking = [raw(zmq.REQ, connect=f"ipc://{socket_dir}/echo") for _ in range(4)]
    asking[0].send_multipart(request)
    assert held.line() == "has it\n"
    assert closes(broker, requests=1, taken=1)
    for count, frames in enumerate((request, request, [b"x"]), start=1):
        asking[count].send_multipart(frames)
        until(lambda count=count: stats(broker).requests == count + 1)  # type: ignore[misc]
    until(lambda: closes(broker, requests=4, taken=1, waiting=1, refused=1, malformed=1))
    with monkeypatch.context() as patched:
        patched.setattr(broker.services[0]._channel, "_send", nobody_there)
        held.go_on()
        assert held.line() == "has it\n"
    assert closes(broker, requests=4, taken=1, dropped=1, refused=1, malformed=1)
    held.go_on()
    assert asking[1].recv_multipart()[0] == b"echo\0"
    until(lambda: closes(broker, requests=4, answered=1, dropped=1, refused=1, malformed=1))


def nobody_there(*_: object) -> None:
    raise zmq.ZMQError(zmq.EHOSTUNREACH)


def closes(broker: Broker, *, requests: int, **ended: int) -> bool:
    """Tell whether these are all counts; they must be those of the requests together, at any time."""
    counts = {key: value for key, value in vars(stats(broker)).items() if isinstance(value, int) and value}
    assert counts.pop("requests") == sum(counts.values())
    return counts == ended and sum(ended.values()) == requests


def test_request_is_forgotten_when_its_time_is_over_although_nothing_happens() -> None:
    waiting = Waiting(10, 1000, 0.05)
    with running(lambda: waiting.take(Taker(lambda: False))):
        until(lambda: bool(waiting._idle))
        assert waiting.put((b"x",), ())
        until(lambda: not waiting._asked)
        assert waiting.counted() == {"requests": 1, "expired": 1, "waiting": 0}
        waiting.end()


def test_nobody_asks_while_access_control_is_dead_and_everybody_may_when_it_is_back(
    free_ports: Ports, socket_dir: Path, serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    frontend = {
        "type": "zmq_tcp",
        "echo": {"host": "127.0.0.1", "port": port, "server_secret_key": BROKER.secret},
        "allowed_clients": [ASKING.public],
    }
    one = at(socket_dir, "one")
    broker = serve(frontend, [one])
    run(one, "one")
    state = broker.services[0]._channel.status
    with monkeypatch.context() as patched:
        patched.setattr(AccessControl, "restart", lambda _: None)
        patched.setattr(AccessControl, "_answer", die)  # of the next question, the watchdog's
        until(lambda: state.now.state == "failed")
        broker.services[0]._channel.link._runtime.access._stopped = False
        with mb.MsgbusContext(client(port, BROKER, ASKING)) as bus, pytest.raises(mb.ReceiveTimeout):
            bus.get_service("echo").request({}, timeout=300)
    assert asked(client(port, BROKER, ASKING), 3) == {"one": 3}


def die(self: AccessControl, handler: "zmq.Socket[bytes]") -> None:
    self._stopped = True
    handler.close()


def test_answer_on_its_way_is_waited_for_at_the_end_and_the_address_is_free(
    socket_dir: Path, serve: Serve, run: Run, opened: Open
) -> None:
    one = at(socket_dir, "held")
    broker = serve(at(socket_dir, "echo"), [one])
    held = run(one, "held")
    connected(broker, 1)
    requester = opened(at(socket_dir, "echo")).get_service("echo")
    requester.request({"n": 1})
    assert held.line() == "has it\n"
    with running(broker.close):
        until(lambda: broker.services[0]._waiting.ended)
        held.go_on()
        assert requester.recv(20_000).meta_data == {"by": "held", "n": 1}
    assert broker.wait(0)
    assert not (socket_dir / "echo").exists()


def test_it_ends_in_time_when_a_service_does_not_answer(
    socket_dir: Path, serve: Serve, run: Run, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eis.msgbus.broker.services._FINISH", 0.1)
    broker = serve(at(socket_dir, "echo"), [at(socket_dir, "held")])
    held = run(at(socket_dir, "held"), "held")
    connected(broker, 1)
    requester = opened(at(socket_dir, "echo")).get_service("echo")
    requester.request({"n": 1})
    assert held.line() == "has it\n"
    ending = threading.Thread(target=broker.close, daemon=True)
    ending.start()
    ending.join(8)
    assert not ending.is_alive()


@pytest.mark.parametrize("broken", ["put", "take"])
def test_failure_of_a_thread_ends_the_broker_and_frees_its_address(
    socket_dir: Path, serve: Serve, raw: Raw, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Waiting, broken, fail)
    broker = serve(at(socket_dir, "echo"), [at(socket_dir, "one")])
    raw(zmq.REQ, connect=f"ipc://{socket_dir}/echo").send_multipart([b"echo\0", b"\0", b"\1", b"{}"])
    with pytest.raises(mb.MessageBusError, match="the broker has ended: broken"):
        broker.wait(20)
    until(lambda: not (socket_dir / "echo").exists())


def test_address_is_free_when_the_system_has_no_thread_left(
    socket_dir: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "msgbus-broker-service":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        serve(at(socket_dir, "echo"), [at(socket_dir, "one")])
    assert not (socket_dir / "echo").exists()


@pytest.mark.parametrize(
    ("sides", "where", "problem"),
    [
        (({"echo": {"socket_file": "../x"}}, {}), "frontend.echo.socket_file", "expected the plain name"),
        (({}, {"echo": {"socket_file": "../x"}}), "backends[0].echo.socket_file", "expected the plain name"),
        (({}, {"echo": {"socket_file": "echo"}}), "backends[0]", "got that of the broker's own frontend"),
    ],
)
def test_wrong_side_is_refused_with_its_place_and_nothing_is_left_open(
    socket_dir: Path, serve: Serve, sides: tuple[Config, Config], where: str, problem: str
) -> None:
    with pytest.raises(mb.InvalidConfig, match=problem) as refused:
        serve(at(socket_dir, "echo") | sides[0], [at(socket_dir, "one") | sides[1]])
    assert refused.value.where == f"services.echo.{where}"
    assert not (socket_dir / "echo").exists()


def test_request_is_for_who_has_been_idle_for_longest_of_those_who_are_ready() -> None:
    waiting = Waiting(10, 1000, 60)
    takers = [Taker(lambda index=index: index != 1) for index in range(3)]  # type: ignore[misc]
    takes: list[int] = []
    taken = threading.Semaphore(0)

    def take(index: int) -> None:
        while waiting.take(takers[index]) is not None:
            takes.append(index)
            taken.release()

    with ExitStack() as stack:
        for index in range(3):
            stack.enter_context(running(lambda index=index: take(index)))  # type: ignore[misc]
            until(lambda index=index: takers[index] in waiting._idle)  # type: ignore[misc]
        for _ in range(6):
            assert waiting.put((b"x",), ())
            assert taken.acquire(timeout=10)
            until(lambda: len(waiting._idle) == 3)
        waiting.end()
    assert takes == [0, 2, 0, 2, 0, 2]


def test_connection_that_is_gone_when_the_request_goes_out_counts_as_lost(socket_dir: Path, opened: Open) -> None:
    """It is given up, although nobody may have seen it: the next one must not be asked along with it."""
    waiting = Waiting(10, 1000, 60)
    bus = opened(at(socket_dir, "one"))
    asking = Asking(lambda: bus._transport.requester("echo"), waiting, lambda *_: True, 60, threading.Event())
    asking._taker.ready = lambda: True
    with running(asking.run):
        waiting.put((b"echo\0", b"\0", b"\1", b"{}"), ())
        until(lambda: waiting.counted().get("lost") == 1)
        waiting.end()
