"""What the tests of the ZeroMQ transports share: configurations of both sides, raw frames, threads and programs."""

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus._waiting import Deadline
from eis.msgbus.transports.zmq.publisher import PublisherSocket

T = TypeVar("T")

MODES = ("ipc", "tcp", "curve", "allow")
TCP_MODES = ("tcp", "curve", "allow")
SERVER, CLIENT, STRANGER = (keys.new_key_pair() for _ in range(3))
NAMES = ("camera1", "camera10", "camera", "other", "")

GOOD = [b"camera1\0", b"\0", b"\1", b'{"n":1}']
"""A message as it stands on the wire."""


@dataclasses.dataclass(frozen=True)
class Sides:
    """Hold the configurations of the two sides of one bus, and where its publisher and its service are."""

    server: dict[str, Any]
    client: dict[str, Any]
    publisher: str
    service: str


def ipc_sides(directory: Path) -> Sides:
    config = {
        "type": "zmq_ipc",
        "socket_dir": str(directory),
        "": {"socket_file": "pub"},
        "echo": {"socket_file": "echo"},
    }
    return Sides(config, config, f"ipc://{directory}/pub", f"ipc://{directory}/echo")


def tcp_sides(ports: Sequence[int], mode: str, host: str = "127.0.0.1") -> Sides:
    bind = {} if mode == "tcp" else {"server_secret_key": SERVER.secret}
    client = {} if mode == "tcp" else client_keys()
    server = {
        "type": "zmq_tcp",
        "zmq_tcp_publish": {"host": host, "port": ports[0], **bind},
        "echo": {"host": host, "port": ports[1], **bind},
        **({"allowed_clients": [CLIENT.public]} if mode == "allow" else {}),
    }
    there: dict[str, Any] = {name: {"host": host, "port": ports[0], **client} for name in NAMES}
    there |= {"type": "zmq_tcp", "echo": {"host": host, "port": ports[1], **client}}
    return Sides(server, there, f"tcp://{host}:{ports[0]}", f"tcp://{host}:{ports[1]}")


def client_keys(pair: keys.KeyPair = CLIENT, server: str = SERVER.public) -> dict[str, str]:
    return {"server_public_key": server, "client_public_key": pair.public, "client_secret_key": pair.secret}


def until(attempt: Callable[[], T], seconds: float = 10.0) -> T:
    """Call `attempt` until it returns something true; a moment passes between two calls."""
    deadline, pause = Deadline(seconds), threading.Event()
    while not (result := attempt()):
        assert deadline.left(), "it did not happen in time"
        pause.wait(0.005)
    return result


class Clock:
    """Stand in for the module `time`: the test says how late it is."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@contextmanager
def running(target: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run `target` in a thread, and see that it ends; what it raises fails the test."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001  # the test raises it
            raised.append(error)

    thread = threading.Thread(target=run, name="helper", daemon=True)
    thread.start()
    yield thread
    thread.join(20)
    assert not thread.is_alive(), "the thread did not end in time"
    if raised:
        raise raised[0]


class Program:
    """Run Python code in a process of its own; it reads its arguments from `config`, and prints lines."""

    def __init__(self, code: str, config: object, before: tuple[str, ...] = (), **options: Any) -> None:
        head = "import json, os, signal, sys, threading\nimport eis.msgbus as mb\nfrom eis.msgbus import aio\n"
        head += f"config = json.loads({json.dumps(json.dumps(config))})\n"
        self.process = subprocess.Popen(
            [*before, sys.executable, "-u", "-W", "error", "-c", head + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="program-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._lines.append(line.strip())
                self._news.notify_all()

    def line(self, expected: str, seconds: float = 15.0) -> None:
        """Wait until the program has printed the line."""
        assert self.says(expected, seconds), (
            f"expected {expected!r}, got {self._lines}, {self._errors() if self.process.poll() else ''}"
        )

    def says(self, expected: str, seconds: float) -> bool:
        """Tell whether the program prints the line in so many seconds."""
        with self._news:
            return self._news.wait_for(lambda: expected in self._lines, seconds)

    def _errors(self) -> str:
        """Return what it wrote to stderr, but for the warning of TCP without keys."""
        assert self.process.stderr is not None
        return "".join(line for line in self.process.stderr if ": plain text, without keys: " not in line)

    def ends(self, seconds: float = 15.0) -> str:
        """Wait for a clean end, and return what it wrote to stderr."""
        assert self.process.wait(seconds) == 0, self._errors()
        return self._errors()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


BECOME = """
import tempfile
from eis.msgbus.transports.zmq import known_users, permission, socket_directory, socket_file

def become(uid, gid, *groups):
    "Change to that user for good; what its files of Python are read for is done before, for it may not read them."
    with tempfile.TemporaryDirectory() as place, mb.MsgbusContext({"type": "zmq_ipc", "socket_dir": place}) as bus:
        bus.new_publisher("t"), bus.new_subscriber("t"), bus.new_service("s")
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)

"""
"""The beginning of a program that runs as another user."""


@contextmanager
def serving(service: mb.Service) -> Iterator[None]:
    """Answer every request with itself."""

    def serve() -> None:
        for request in service:
            service.response(request)

    with running(serve):
        try:
            yield
        finally:
            service.close()


# Frames in shared memory

FRAME = 300_000  # bytes; far more than what goes through the socket


def frame(number: int, size: int = FRAME) -> bytes:
    return bytes([number % 251]) * size


def publish(publisher: mb.Publisher, number: int, size: int = FRAME) -> None:
    publisher.publish(({"n": number}, frame(number, size)))


def shared(publisher: mb.Publisher, *subscribers: mb.Subscriber[Any]) -> int:
    """Publish until frames come through shared memory; return how many were published."""
    publisher.wait_for_subscribers(len(subscribers), 5000)
    count, deadline = 0, Deadline(5)
    while any(subscriber.stats.form != "shared" for subscriber in subscribers):
        assert deadline.left()
        publish(publisher, count)
        for subscriber in subscribers:
            assert subscriber.recv(5000) == ({"n": count}, frame(count))
        count += 1
    return count


def socket_of(publisher: mb.Publisher) -> PublisherSocket:
    return publisher._channel._socket  # type: ignore[attr-defined, no-any-return]  # what the contract does not show
