"""Fixtures that every room's tests share. They know the operating system, not the message bus."""

import contextlib
import random
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq.utils.garbage
from hypothesis import HealthCheck, settings

# No deadline: a busy machine is no bug. print_blob: a failure of CI can be run again elsewhere.
settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

zmq.utils.garbage.gc.start()  # pyzmq's thread for frames without a copy, one for each process: no test leaves it behind


def _free_ports(count: int) -> list[int]:
    """Return ports that are free at every address, and that the system gives to no connection that somebody makes."""
    ports: list[int] = []
    with ExitStack() as held:  # all at once, so that no two are the same
        while len(ports) < count:
            each, port = held.enter_context(socket.socket()), random.SystemRandom().randrange(10_000, 32_000)
            with contextlib.suppress(OSError):
                each.bind(("", port))
                ports.append(port)
    return ports


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """`free_ports(3)`: so many different tcp ports that nobody uses."""
    return _free_ports


@pytest.fixture
def tcp_port() -> int:
    """One tcp port that nobody uses."""
    return _free_ports(1)[0]


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A directory with a short path: that of a Unix socket may have 107 bytes, and tmp_path's is long."""
    short = Path("/tmp")  # noqa: S108  # only the parent of a directory with a random name and mode 0700
    with tempfile.TemporaryDirectory(prefix="mb-", dir=short if short.is_dir() else None) as directory:
        yield Path(directory)


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(timeout=5)
    alive = sorted(thread.name for thread in left if thread.is_alive())
    assert not alive, f"threads left behind by the test: {alive}"
