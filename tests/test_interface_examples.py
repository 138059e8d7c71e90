"""The original's complete examples, word for word, by way of the interfaces and of ConfigMgr."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cfgmgr.config_manager import ConfigMgr
from eis.msgbus import keys
from eis.msgbus._config import Config
from eis.msgbus.interfaces import Application, Keys

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "eii-interfaces.json").read_text())
INTERFACES: dict[str, Any] = VECTORS["interfaces"]
PAIRS = {app: keys.new_key_pair() for app in INTERFACES}
PUBLIC = {app: pair.public for app, pair in PAIRS.items()}
EXAMPLES = [
    pytest.param(example, mode, id=f"{example['app']}-{example['list']}-{example['index']}-{mode}")
    for example in VECTORS["examples"]
    for mode in ("development", "production")
]


def expected(value: Any) -> Any:
    """Put keys in the place of their names."""
    if isinstance(value, dict):
        return {key: expected(each) for key, each in value.items()}
    if value == "<all>":
        return sorted(PUBLIC.values())
    if isinstance(value, str) and (named := re.fullmatch(r"<([SK])\((\w+)\)>", value)):
        pair = PAIRS[named[2]]
        return pair.secret if named[1] == "S" else pair.public
    return value


def in_order(config: dict[str, Any]) -> dict[str, Any]:
    """The same, with the list of keys in an order."""
    return {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}


@pytest.mark.parametrize(("example", "mode"), EXAMPLES)
def test_an_example_becomes_the_configuration_that_the_original_made(example: dict[str, Any], mode: str) -> None:
    app = example["app"]
    environment = {"DEV_MODE": str(mode == "development"), **example.get("environment", {})}
    described = Application(INTERFACES[app], app, Keys(PUBLIC, PAIRS[app].secret), environment)
    entry = getattr(described, example["list"])[example["index"]]
    assert in_order(entry.config) == expected(example[mode])
    Config(entry.config)  # the bus takes it
    if "topics" in example:
        assert entry.topics == example["topics"]


@pytest.mark.parametrize(("example", "mode"), EXAMPLES)
def test_an_application_gets_the_same_when_it_asks_its_configuration_manager(
    example: dict[str, Any], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = example["app"]
    store = {f"/Publickeys/{name}": key for name, key in PUBLIC.items()}
    store |= {f"/{app}/interfaces": INTERFACES[app], f"/{app}/private_key": PAIRS[app].secret}
    (tmp_path / "eii_config.json").write_text(json.dumps(store))
    named = {"AppName": app, "DEV_MODE": str(mode == "development"), **example.get("environment", {})}
    for name, value in (named | {"CONFIGMGR_SOURCE": str(tmp_path / "eii_config.json")}).items():
        monkeypatch.setenv(name, value)
    entry = getattr(ConfigMgr(), f"get_{example['list'][:-1]}_by_index")(example["index"])
    assert in_order(entry.get_msgbus_config()) == expected(example[mode])
    if "topics" in example:
        assert entry.get_topics() == example["topics"]
