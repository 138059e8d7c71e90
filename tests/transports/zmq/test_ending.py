"""Programs that forget to close, end all the same, at once and without a word."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.transports.zmq.conftest import Start
from tests.transports.zmq.helpers import MODES, Program, Sides

ENDPOINTS = {
    "publisher": ("server", 'endpoint = bus.new_publisher("camera1"); endpoint.publish({"n": 1})'),
    "subscriber": ("client", 'endpoint = bus.new_subscriber("camera1")'),
    "service": ("server", 'endpoint = bus.new_service("echo")'),
    "requester": ("client", 'endpoint = bus.get_service("echo"); endpoint.request({"n": 1})'),
}
WAYS = {
    "forgets": "",
    "drops-the-context": "\ndel bus",
    "drops-both": "\ndel bus\ndel endpoint",
    "exits": "\nsys.exit(0)",
}


@pytest.mark.parametrize("mode", MODES)
def test_program_ends_when_it_does_not_close(mode: str, make_sides: Callable[[str], Sides], start: Start) -> None:
    """One process for each way and endpoint, all at once: what is tested is that each ends."""
    programs: list[Program] = []
    for side, code in ENDPOINTS.values():
        for way in WAYS.values():
            sides = make_sides(mode)
            program = f"bus = mb.MsgbusContext(config)\n{code}{way}"
            server = {**sides.server, "": {}} if mode == "ipc" else sides.server
            config = dict(server if side == "server" else sides.client)
            if mode == "ipc":
                name = f"file{len(programs)}"
                config |= {"": {"socket_file": name}, "echo": {"socket_file": name}}
            programs.append(start(program, config))
    assert [program.ends(25) for program in programs] == [""] * 16


def test_program_ends_when_a_daemon_thread_still_waits(sides: Sides, start: Start) -> None:
    program = start(
        """
bus = mb.MsgbusContext(config)
subscriber = bus.new_subscriber("camera1")
waiting = threading.Event()
def wait():
    waiting.set()
    for envelope in subscriber:
        pass
threading.Thread(target=wait, daemon=True).start()
waiting.wait()
""",
        sides.client,
    )
    assert program.ends() == ""


def test_asyncio_program_ends_when_it_does_not_close(sides: Sides, start: Start) -> None:
    program = start(
        """
import asyncio
async def main():
    global bus, subscriber
    bus = aio.MsgbusContext(config)
    subscriber = bus.new_subscriber("camera1")
    try:
        await subscriber.recv(timeout=0.05)
    except mb.ReceiveTimeout:
        print("nothing")
asyncio.run(main())
""",
        sides.client,
    )
    program.line("nothing")
    assert program.ends() == ""


def test_everything_is_delivered_when_a_program_ends_without_close(sides: Sides, start: Start) -> None:
    publishing = start(
        """
bus = mb.MsgbusContext(config)
publisher = bus.new_publisher("camera1")
publisher.wait_for_subscribers(1, 15000)
for number in range(500):
    publisher.publish(({"n": number}, bytes(1000)))
""",
        sides.server,
    )
    reading = start(
        """
subscriber = mb.MsgbusContext(config).new_subscriber("camera1")
assert [subscriber.recv(15000).meta_data["n"] for _ in range(500)] == list(range(500))
print("all")
""",
        sides.client,
    )
    assert publishing.ends() == ""
    reading.line("all")
    assert reading.ends() == ""


def test_frames_are_whole_when_the_program_that_published_them_ends_while_they_are_read(
    make_sides: Callable[[str], Sides], start: Start
) -> None:
    """When Python ends, pyzmq lets their memory go: ZeroMQ must have done with it by then."""
    sides = make_sides("ipc")
    reading = start(
        """
subscriber = mb.MsgbusContext(config).new_subscriber("camera1")
print("there")
for number in range(8):
    envelope = subscriber.recv(10000)
    assert set(bytes(envelope.view)) == {envelope.meta_data["n"]}
    threading.Event().wait(0.4)  # a program that is slower than the end of the other
print("whole")
""",
        sides.client,
    )
    reading.line("there")
    publishing = start(
        """
publisher = mb.MsgbusContext(config).new_publisher("camera1")
publisher.wait_for_subscribers(1, 15000)
for n in range(16):
    publisher.publish(({"n": n}, bytes([n]) * 6_000_000))
""",
        sides.server,
    )
    assert publishing.ends() == ""
    reading.line("whole")


@pytest.mark.skipif(sys.platform == "win32", reason="fork is Unix")
def test_forked_child_leaves_its_parents_sockets_alone(make_sides: Callable[[str], Sides], start: Start) -> None:
    sides = make_sides("ipc")
    program = start(
        """
bus = mb.MsgbusContext(config)
publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
publisher.wait_for_subscribers(1, 10000)
child = os.fork()
if not child:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
publisher.publish({"n": 1})
assert subscriber.recv(5000).meta_data == {"n": 1}
with mb.MsgbusContext(config).new_subscriber("camera1"):
    publisher.wait_for_subscribers(2, 5000)
print("fine")
""",
        sides.server,
    )
    program.line("fine")
    program.ends()


CHILD_STAYS = """
import contextlib
from tests.transports.zmq.helpers import until

def heard():
    "Publish again, for what is published while the subscriber connects is lost."
    publisher.publish({"n": 1})
    with contextlib.suppress(mb.ReceiveTimeout):
        return subscriber.recv(200).meta_data == {"n": 1}

with mb.MsgbusContext(config["server"]) as server, mb.MsgbusContext(config["client"]) as client:
    publisher, subscriber = server.new_publisher("camera1"), client.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 10000)
    born, stays = os.pipe(), os.pipe()
    if not (child := os.fork()):
        os.close(stays[1])
        os.write(born[1], b"!")
        os.read(stays[0], 1)
        os._exit(0)
    os.read(born[0], 1)
    HAPPENS
    until(heard)
    assert not os.waitpid(child, os.WNOHANG)[0]
    os.close(stays[1])
    assert os.waitpid(child, 0)[1] == 0
print("fine")
"""
"""A child of a fork stays; it has to have let go of where its parent listens, and of who is connected there."""

HAPPENS = {
    "closes": "publisher.close(); publisher = server.new_publisher('camera1')",
    "cuts": """link = publisher._channel._socket.link
    link.cut()
    until(lambda: link.resume() or link.listening.endpoint)""",
}


@pytest.mark.skipif(sys.platform == "win32", reason="fork is Unix")
@pytest.mark.parametrize("mode", ["ipc", "tcp", "allow"])
@pytest.mark.parametrize("happens", ["closes", "cuts"])
def test_parent_listens_again_though_a_child_of_a_fork_stays(
    mode: str, happens: str, make_sides: Callable[[str], Sides], start: Start
) -> None:
    sides = make_sides(mode)
    program = start(CHILD_STAYS.replace("HAPPENS", HAPPENS[happens]), {"server": sides.server, "client": sides.client})
    program.line("fine", 40)
    assert program.ends() == ""


def test_importing_the_bus_starts_no_thread() -> None:
    code = "import threading, eis.msgbus; assert threading.active_count() == 1"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=20)
