"""What users install: metadata, entry points, the two namespaces, types. Knows no message."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, requires, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = sorted((ROOT / "src").rglob("*.py"))


def test_version_of_the_installed_distribution_is_the_projects() -> None:
    assert version("eis-msgbus") == PROJECT["version"]


def test_run_time_needs_pyzmq_and_msgspec_only() -> None:
    needed = [each for each in requires("eis-msgbus") or [] if "extra ==" not in each]
    assert sorted(re.split(r"\W", each)[0] for each in needed) == ["msgspec", "pyzmq"]


def test_importing_the_core_loads_no_optional_library() -> None:
    extras = {"numpy", "cv2", "PIL", "orjson", "rich", "typer", "mcap", "grpc", "google.protobuf", "eis.msgbus.tools"}
    code = f"import sys, eis.msgbus; print(sorted({extras!r} & set(sys.modules)))"
    assert _python(code) == "[]"


@pytest.mark.parametrize("name", ["zmq_ipc", "zmq_tcp", "memory"])
def test_built_in_transport_is_found_by_its_entry_point(name: str) -> None:
    (found,) = entry_points(group="eis.msgbus.transports", name=name)
    assert isinstance(found.load(), type)


def test_command_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="console_scripts", name="msgbus")
    assert callable(found.load())


def test_other_name_offers_the_same_objects() -> None:
    first, later = importlib.import_module("eis.msgbus"), importlib.import_module("eii.msgbus")
    assert later.__all__ == first.__all__
    assert all(getattr(later, name) is getattr(first, name) for name in first.__all__)


@pytest.mark.parametrize("namespace", ["eis", "eii"])
def test_namespace_can_be_shared_with_other_distributions(namespace: str) -> None:
    assert not (ROOT / "src" / namespace / "__init__.py").exists()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_opens_with_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path}:1: no docstring"


def test_constraints_pin_versions_and_name_no_host() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


@pytest.mark.once
@pytest.mark.timeout(120)
def test_wheel_holds_types_licence_and_no_namespace_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("eis_msgbus-*-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"eis/msgbus/__init__.py", "eis/msgbus/py.typed", "eii/msgbus.py", "cfgmgr/config_manager.py"} <= names
    assert not {"eis/__init__.py", "eii/__init__.py"} & names
    assert [name for name in names if name.endswith("/LICENSE")]
    about = f"eis_msgbus-{PROJECT['version']}.dist-info"
    assert {name.split("/")[0] for name in names} == {"eis", "eii", "cfgmgr", about}


def _python(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def test_program_that_does_not_use_asyncio_does_not_load_it(tmp_path: Path) -> None:
    code = f"""
import sys
import eis.msgbus as mb
with mb.MsgbusContext({{"type": "zmq_ipc", "socket_dir": {str(tmp_path / "s")!r}}}) as bus:
    publisher, subscriber = bus.new_publisher("camera1"), bus.new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({{"n": 1}})
    subscriber.recv(5000)
print({{"asyncio", "ssl", "importlib.metadata"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "set()\n"
