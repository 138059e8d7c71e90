"""Signals: Ctrl-C ends every wait, other handlers run and the wait goes on, and a handler may close."""

import signal
import sys
from collections.abc import Callable

import pytest

from tests.transports.zmq.conftest import Start
from tests.transports.zmq.helpers import Program, Sides, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on Unix")

WAITS = {
    "recv": 'bus.new_subscriber("camera1").recv()',
    "recv-with-timeout": 'bus.new_subscriber("camera1").recv(30000)',
    "iteration": 'list(bus.new_subscriber("camera1"))',
    "request": 'bus.get_service("echo").request({}, timeout=30000)',
    "two-steps": 'r = bus.get_service("echo"); r.request({}); r.recv()',
    "service": 'bus.new_service("echo").recv()',
    "wait-for-subscribers": 'bus.new_publisher("camera1").wait_for_subscribers()',
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_the_wait(wait: str, make_sides: Callable[[str], Sides], start: Start) -> None:
    program = start(
        f"""
try:
    with mb.MsgbusContext(config) as bus:
        print("waits")
        {WAITS[wait]}
except KeyboardInterrupt:
    print("interrupted")
""",
        make_sides("ipc").server,
    )
    program.line("waits")
    interrupt(program)
    program.ends()


def interrupt(program: Program) -> None:
    """Press Ctrl-C until it is noticed: what is raised inside a destructor is lost, whoever wrote it."""

    def press() -> bool:
        program.process.send_signal(signal.SIGINT)
        return program.says("interrupted", 1)

    until(press, 15)


@pytest.mark.parametrize(
    "wait",
    [
        'await bus.new_subscriber("camera1").recv()',
        'await bus.get_service("echo").request({})',
        'await bus.new_publisher("camera1").wait_for_subscribers()',
        'async for _ in bus.new_subscriber("camera1"): pass',
    ],
)
def test_ctrl_c_ends_asyncio_run(wait: str, make_sides: Callable[[str], Sides], start: Start) -> None:
    program = start(
        f"""
import asyncio
async def main():
    async with aio.MsgbusContext(config) as bus:
        print("waits")
        {wait}
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
""",
        make_sides("ipc").server,
    )
    program.line("waits")
    interrupt(program)
    program.ends()


def test_handler_runs_and_recv_goes_on(make_sides: Callable[[str], Sides], start: Start) -> None:
    program = start(
        """
with mb.MsgbusContext(config) as bus:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    rung = []
    def ring(*_):
        rung.append(1)
        if len(rung) == 5:
            publisher.publish({"n": 1})
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    assert subscriber.recv(10000).meta_data == {"n": 1}
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(rung) >= 5
    print("went on")
""",
        make_sides("ipc").server,
    )
    program.line("went on")
    assert program.ends() == ""


@pytest.mark.parametrize("closed", ["subscriber", "bus"])
def test_recv_ends_with_an_error_when_a_handler_closes(
    closed: str, make_sides: Callable[[str], Sides], start: Start
) -> None:
    program = start(
        f"""
bus = mb.MsgbusContext(config)
subscriber = bus.new_subscriber("camera1")
signal.signal(signal.SIGALRM, lambda *_: {closed}.close())
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    subscriber.recv()
except mb.MessageBusError as error:
    print(error)
""",
        make_sides("ipc").client,
    )
    program.line("subscriber camera1 is closed")
    assert program.ends() == ""


def test_no_message_is_torn_or_stuck_when_ctrl_c_comes_at_any_moment(
    make_sides: Callable[[str], Sides], start: Start
) -> None:
    """300 interrupts in the middle of publishing, receiving and requesting; afterwards all still works."""
    program = start(
        """
class Stop(BaseException): pass
def stop(*_):
    if armed: raise Stop
signal.signal(signal.SIGALRM, stop)
with mb.MsgbusContext(config) as bus:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    service, requester = bus.new_service("echo"), bus.get_service("echo")
    publisher.wait_for_subscribers(1, 10000)
    def all_of_it(n):
        publisher.publish(({"n": n}, bytes(10)))
        while (subscriber.recv(5000).meta_data or {}).get("n") != n:
            pass
        requester.request({"n": n})
        while service.recv(5000).meta_data["n"] != n:
            pass
        service.response({"n": n})
        assert requester.recv(5000).meta_data == {"n": n}
    for interrupt in range(300):
        armed = True
        try:  # again after a while: what is raised inside a destructor is lost
            signal.setitimer(signal.ITIMER_REAL, 0.001 + interrupt * 0.00001, 0.05)
            while True:
                all_of_it(-1 - interrupt)
        except Stop:
            armed = False
        done = threading.Thread(target=all_of_it, args=(interrupt,))
        done.start()
        done.join(10)
        assert not done.is_alive()
    signal.setitimer(signal.ITIMER_REAL, 0)  # or else it rings when Python has ended, and answers no signal any more
    print("fine")
""",
        make_sides("ipc").server,
    )
    program.line("fine", 40)
    program.ends()


def test_handler_may_use_another_endpoint_while_one_is_in_use(make_sides: Callable[[str], Sides], start: Start) -> None:
    program = start(
        """
with mb.MsgbusContext(config) as bus:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    refused = []
    def beat(*_):
        try:
            publisher.publish({"beat": 1})
        except mb.MessageBusError as error:
            refused.append(str(error))
    signal.signal(signal.SIGALRM, beat)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    for number in range(3000):
        publisher.publish({"n": number})
        while subscriber.recv(5000).meta_data.get("n") != number:
            pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert subscriber.stats.malformed == 0, subscriber.stats
    print("whole")
""",
        make_sides("ipc").server,
    )
    program.line("whole", 30)
    program.ends()
