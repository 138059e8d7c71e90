"""How a transport is found: by the entry point of whichever package brings it."""

import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from eis.msgbus import transports
from eis.msgbus.exceptions import InvalidConfig
from eis.msgbus.transports import open_transport
from eis.msgbus.transports.memory import MemoryTransport

PIGEONS = """
class PigeonTransport:
    def __init__(self, config):
        self.config = config
"""


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    transports._entry_points.cache_clear()
    yield
    transports._entry_points.cache_clear()


@pytest.fixture
def pigeons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with a transport of its own, as pip would."""
    (tmp_path / "pigeons.py").write_text(PIGEONS)
    info = tmp_path / "pigeons-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1.0\n")
    points = "carrier_pigeon = pigeons:PigeonTransport\nlost_pigeon = no_such_module:PigeonTransport\n"
    (info / "entry_points.txt").write_text(f"[eis.msgbus.transports]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("pigeons", None)


def test_built_in_transport_is_found_by_name() -> None:
    transport = open_transport("memory", {"type": "memory"})
    transport.close()
    assert isinstance(transport, MemoryTransport)


@pytest.mark.usefixtures("pigeons")
def test_transport_of_another_package_gets_the_whole_configuration() -> None:
    config = {"type": "carrier_pigeon", "loft": "north"}
    transport: Any = open_transport("carrier_pigeon", config)
    assert (type(transport).__module__, transport.config) == ("pigeons", config)


def test_unknown_transport_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidConfig) as caught:
        open_transport("zmq_icp", {})
    assert str(caught.value) == "config type: expected one of memory, zmq_ipc, zmq_tcp, got 'zmq_icp'"


@pytest.mark.usefixtures("pigeons")
def test_transport_that_cannot_be_imported_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidConfig, match=r"config type: cannot load 'lost_pigeon': .*no_such_module"):
        open_transport("lost_pigeon", {})


def test_transport_refuses_its_configuration_itself() -> None:
    with pytest.raises(InvalidConfig, match="config hub: expected the name of a hub, got int"):
        open_transport("memory", {"hub": 5})


@pytest.mark.usefixtures("pigeons")
def test_entry_points_are_looked_up_once() -> None:
    for _ in range(3):
        open_transport("carrier_pigeon", {})
    assert transports._entry_points.cache_info().misses == 1


def test_built_in_transports_are_the_entry_points_of_this_package() -> None:
    points = distribution("eis-msgbus").entry_points.select(group=transports.GROUP)
    assert {point.name: point.value for point in points} == transports.BUILT_IN


def test_no_other_package_can_take_the_name_of_a_built_in_transport(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "impostor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: impostor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[eis.msgbus.transports]\nmemory = no_such_module:Impostor\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(open_transport("memory", {}), MemoryTransport)
