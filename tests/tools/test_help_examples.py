"""The examples of each command's help are run, in a directory that has what they name."""

import importlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus.tools import COMMANDS
from eis.msgbus.tools.key_configs import configurations
from tests.meeting import threads
from tests.tools.process import DEADLINE, ENVIRONMENT
from tests.tools.recordings import make_recording


def examples_of(name: str) -> Iterator[str]:
    found = importlib.import_module(f"eis.msgbus.tools.{name}").EXAMPLES
    yield from itertools.chain.from_iterable(found.values()) if isinstance(found, dict) else found


pytestmark = pytest.mark.once

EXAMPLES = [example for name in COMMANDS for example in examples_of(name)]


def subscribe(bus: mb.MsgbusContext) -> None:
    for _ in bus.new_subscriber("camera1"):
        pass


def publish(bus: mb.MsgbusContext) -> None:
    publisher = bus.new_publisher("camera1")
    while True:
        try:
            publisher.wait_for_subscribers(1)
            publisher.publish(({"frame": 1}, b"blob"))
        except mb.MessageBusError:
            return


def publish_at_ease(bus: mb.MsgbusContext) -> None:
    """Publish no faster than a recorder on a busy machine can write: it fails when it misses something."""
    publisher = bus.new_publisher("camera1")
    never = threading.Event()
    while True:
        try:
            publisher.wait_for_subscribers(1)
            publisher.publish(({"frame": 1}, b"blob"))
        except mb.MessageBusError:
            return
        never.wait(0.01)


def serve(bus: mb.MsgbusContext) -> None:
    service = bus.new_service("reboot")
    for request in service:
        service.response(request)


def request(bus: mb.MsgbusContext) -> None:
    requester = bus.get_service("reboot")
    while True:
        try:
            requester.request({"delay": 1}, 200)
        except (mb.ReceiveTimeout, mb.Disconnected):
            pass
        except mb.MessageBusError:
            return


def publish_and_serve(bus: mb.MsgbusContext) -> None:
    with threads(1) as other:
        other.submit(serve, bus)
        publish(bus)


BROKER = ("frontend", "backend")

OTHER_SIDE = {
    "pub": subscribe,
    "sub": publish,
    "request": serve,
    "serve": request,
    "doctor": publish_and_serve,
    "hz": publish,
    "record": publish_at_ease,
    "replay": subscribe,
    "top": publish,
}


@contextmanager
def other_side(command: str, config: dict[str, str]) -> Iterator[None]:
    """Do what the peer of a command does, meanwhile."""
    with mb.MsgbusContext(config) as bus:
        peer = threading.Thread(target=OTHER_SIDE.get(command, lambda _: None), args=[bus])
        peer.start()
        try:
            yield
        finally:
            bus.close()
            peer.join()


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_help_does_what_it_says(example: str, folder: Path) -> None:
    (folder / "frame.png").write_bytes(b"\x89PNG\r\n")
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_bytes(b"\x89PNG\r\n")
    (folder / "frames.json").write_text('[{"frame": 1}, {"frame": 2}]')
    (folder / "lines.jsonl").write_text('{"frame": 1}\n{"frame": 2}\n')
    (folder / "answer.py").write_text("print(input())")
    command = example.split()[1]
    if command == "keys" and " new " not in example:
        for name in ("camera", "viewer"):
            keys.write_pair(keys.new_key_pair(), folder / name)
    if command == "replay":
        make_recording(folder / "camera1.mcap")
        make_recording(folder / "day-0001.mcap")
    if command == "check":
        made = configurations(["camera", "viewer"], "tcp://127.0.0.1:3000", ["camera1"], None)
        for name, config in made.items():
            keys.write_pair(keys.new_key_pair(), folder / name)
            (folder / f"{name}.json").write_text(json.dumps(config))
    if command == "broker":
        where = {name: {"type": "zmq_ipc", "socket_dir": "sockets", "": {"socket_file": name}} for name in BROKER}
        for name, side in {**where, "broker": where}.items():
            (folder / f"{name}.json").write_text(json.dumps(side))
        example = f"timeout 3 {example}"  # which ends it with SIGTERM
    endless = command == "serve" and " -n " not in example
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with other_side(command, json.loads((folder / "bus.json").read_text())):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", example + (" -n 1" if endless else "")],
            cwd=folder,
            env=ENVIRONMENT | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == (124 if command == "broker" else 0), done.stderr
    assert "Traceback" not in done.stderr
