"""What the child of a fork lets go of, tried in one process; `test_ending.py` forks."""

import os
import socket
import sys
import weakref
from pathlib import Path

import pytest

from tests.transports.zmq.conftest import Open
from tests.transports.zmq.helpers import Sides

if sys.platform == "win32":
    pytest.skip("Windows has no fork", allow_module_level=True)

from eis.msgbus.transports.zmq import inherited
from eis.msgbus.transports.zmq.socket_file import SocketFile


class Served:
    """Stand in for a place where somebody listens."""

    def __init__(self, *names: object) -> None:
        self._names = names

    def let_go(self) -> tuple[object, ...]:
        return self._names


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let go of nothing that other tests have open."""
    monkeypatch.setattr(inherited, "_served", weakref.WeakSet())


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_listening_socket_and_what_came_to_it_are_closed_and_nothing_else(tmp_path: Path) -> None:
    tcp, other = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(tmp_path / "s"))
    local.listen()
    caller = socket.create_connection(tcp.getsockname())
    came, _ = tcp.accept()
    datagrams, unnamed = socket.socket(type=socket.SOCK_DGRAM), socket.socketpair()
    datagrams.bind(tcp.getsockname())
    served = Served(tcp.getsockname()[1], str(tmp_path / "s"))
    inherited.let_go_after_fork(served)
    inherited._forked()
    gone, stay = (tcp, came, local), (other, caller, datagrams, *unnamed)
    assert [is_open(each.fileno()) for each in (*gone, *stay)] == [False] * 3 + [True] * 5
    for each in gone:
        each.detach()
    for each in stay:
        each.close()


def test_nothing_is_looked_for_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", None)
    inherited._forked()


def test_socket_file_that_was_let_go_is_free_for_others(tmp_path: Path) -> None:
    path = str(tmp_path / "camera1")
    assert SocketFile(path).let_go() == (path, str(tmp_path / ".camera1.new"))
    SocketFile(path).close()


def test_places_are_let_go_by_port_or_by_file_until_they_are_closed(
    sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(sides.server).new_publisher("camera1") as publisher:
        listening = publisher._channel._socket.link.listening  # type: ignore[attr-defined]
        if listening._file is not None:
            monkeypatch.setattr(listening._file, "let_go", lambda: ("camera1",))
            assert listening.let_go() == ("camera1",)
        else:
            assert listening.let_go() == (int(listening.endpoint.rpartition(":")[2]),)
    assert listening.let_go() == ()
