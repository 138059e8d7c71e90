"""A directory of a user with a configuration in it."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def folder(socket_dir: Path) -> Path:
    """A directory with `bus.json`, whose socket files are in `sockets`."""
    (socket_dir / "bus.json").write_text(json.dumps({"type": "zmq_ipc", "socket_dir": str(socket_dir / "sockets")}))
    (socket_dir / "sockets").mkdir(mode=0o700)
    return socket_dir
