"""Example configurations that can be used beside others: in a directory of their own, with ports of their own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.examples.script import EXAMPLES


@pytest.fixture
def folder(socket_dir: Path, free_ports: Callable[[int], list[int]]) -> Path:
    """A copy of the example configurations in a directory to run in: the same port, another number, in every file."""
    paths = (*EXAMPLES.glob("configs/*.json"), *EXAMPLES.glob("brokers/*.json"))
    configs = {str(path.relative_to(EXAMPLES)): json.loads(path.read_text()) for path in paths}
    written = sorted({port for config in configs.values() for port in _ports(config)})
    ports = dict(zip(written, free_ports(len(written)), strict=True))
    (socket_dir / "configs").mkdir()
    (socket_dir / "brokers").mkdir()
    (socket_dir / "sockets").mkdir(mode=0o700)
    for name, config in configs.items():
        for entry in _entries(config):
            entry["port"] = ports[entry["port"]]
        (socket_dir / name).write_text(json.dumps(config))
    (socket_dir / "ports.json").write_text(json.dumps(ports))
    return socket_dir


def _entries(config: dict[str, Any]) -> list[dict[str, Any]]:
    objects = [value for value in config.values() if isinstance(value, dict)]
    return [each for each in objects if "port" in each] + [entry for each in objects for entry in _entries(each)]


def _ports(config: dict[str, Any]) -> list[int]:
    return [entry["port"] for entry in _entries(config)]
