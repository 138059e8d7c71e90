"""Where a configuration names the file or environment variable of a key: put the key there. Knows no meaning of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eis.msgbus import keys
from eis.msgbus._config.entries import FIXED, PUBLISH, place
from eis.msgbus.exceptions import InvalidConfig

__all__ = ["References"]

_BY_NAME = ("clients", "topics")  # objects of keys, or of lists of keys
_LIST = "allowed_clients"


class References:
    """Look up `{"file": PATH}` and `{"env": NAME}`; a relative path is one below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def resolved(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a configuration without references; what is no reference is as it was, right or wrong.

        Raises:
            InvalidConfig: a key cannot be had; with its place, and nothing of what was found there.
        """
        return {name: self._top(name, value) for name, value in config.items()}

    def _top(self, name: str, value: Any) -> Any:
        if name in FIXED and name != PUBLISH:
            return self._under(name, value, name)
        if not isinstance(value, Mapping):
            return value
        return {
            key: self._under(key, each, f"{place(name)}.{place(key)}") if isinstance(key, str) else each
            for key, each in value.items()
        }

    def _under(self, key: str, value: Any, where: str) -> Any:
        """Return what stands under `key`, which may be a key, a list of keys, or some of either by name."""
        if key in _BY_NAME and isinstance(value, Mapping):
            return {
                name: self._keys(each, f"{where}.{place(name)}") if isinstance(name, str) else each
                for name, each in value.items()
            }
        if key == _LIST or key.endswith("_key"):
            return self._keys(value, where, secret=key.endswith("_secret_key"))
        return value

    def _keys(self, value: Any, where: str, *, secret: bool = False) -> Any:
        if not isinstance(value, list | tuple):
            return self._key(value, where, secret=secret)
        return [self._key(each, f"{where}[{index}]", secret=secret) for index, each in enumerate(value)]

    def _key(self, value: Any, where: str, *, secret: bool) -> Any:
        if not isinstance(value, Mapping):
            return value
        match dict(value):
            case {"file": str(path), **rest} if not rest:
                return self._in_file(path, where, secret=secret)
            case {"env": str(name), **rest} if not rest:
                return _in_environment(name, where)
        raise InvalidConfig('expected a key, {"file": "PATH"} or {"env": "NAME"}, got another object', where)

    def _in_file(self, path: str, where: str, *, secret: bool) -> str:
        read = keys.read_secret if secret else keys.read_public
        with _at(where):
            return read(self._directory / path)


def _in_environment(name: str, where: str) -> str:
    with _at(where):
        try:
            value = os.environ.get(name)
        except UnicodeEncodeError:  # half a character: no variable is called so
            value = None
        if value is None:
            raise InvalidConfig("expected a key, and it is not set", f"environment variable {name}")
        return keys.check(value.strip(), f"environment variable {name}")


@contextlib.contextmanager
def _at(where: str) -> Iterator[None]:
    """Put the place in the configuration before that in the file system."""
    try:
        yield
    except InvalidConfig as error:
        raise InvalidConfig(f"{error.where}: {error.problem}", where) from None
