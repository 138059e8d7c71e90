"""A dict, or the file that holds one, with its keys looked up. Knows the key `type`, and none of the others."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eis.msgbus._config.entries import meant
from eis.msgbus._config.references import References
from eis.msgbus.exceptions import InvalidConfig

__all__ = ["Source", "load", "read_file", "resolved"]

_WITH_KEYS = ("zmq_ipc", "zmq_tcp")

Source = Mapping[str, Any] | str | os.PathLike[str]


def load(source: Source) -> Mapping[str, Any]:
    """Return the configuration as a dict, read from a JSON or TOML file where `source` is a path.

    Of the modes of ZeroMQ, the files and environment variables of keys are read too: a relative path is one below the
    directory of the configuration's file, or below the working directory where that is a dict.

    Raises:
        InvalidConfig: no dict, no file, no JSON or TOML in it, no `type`, or a key that cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return resolved(read_file(Path(source)), Path(source).parent)
    return resolved(source, Path())


def resolved(config: Any, directory: Path) -> Mapping[str, Any]:
    """Return what was read with its keys looked up, those in files from `directory`.

    Raises:
        InvalidConfig: as `load`.
    """
    if not isinstance(config, Mapping):
        raise InvalidConfig(f"expected a dict or the path of a JSON or TOML file, got {type(config).__name__}")
    for key in config:
        if not isinstance(key, str):
            raise InvalidConfig(f"expected keys of type str, got {type(key).__name__}")
    _check_type(config)
    if config["type"] not in _WITH_KEYS:
        return config
    return References(directory).resolved(config)


def _check_type(config: Mapping[str, Any]) -> None:
    if isinstance(config.get("type"), str):
        return
    got = type(config["type"]).__name__ if "type" in config else "nothing"
    typo = f"; is it {close!r}?" if "type" not in config and (close := meant(config, "type")) else ""
    raise InvalidConfig(f'expected the name of a transport ("zmq_ipc", "zmq_tcp"), got {got}{typo}', "type")


def read_file(path: Path) -> Any:
    """Return what a JSON or TOML file holds.

    Raises:
        InvalidConfig: there is none, or something else in it.
    """
    is_toml = path.suffix.lower() == ".toml"
    try:
        with path.open("rb") as file:
            return tomllib.load(file) if is_toml else json.load(file)
    except OSError as error:
        raise InvalidConfig(f"cannot read it: {error.strerror}", str(path)) from error
    except (ValueError, RecursionError) as error:  # of JSON, of TOML, of UTF-8, and of the path itself
        # Not from the error: that of JSON holds the whole file, and its keys are secrets.
        raise InvalidConfig(f"expected {'TOML' if is_toml else 'JSON'}: {error}", str(path)) from None
