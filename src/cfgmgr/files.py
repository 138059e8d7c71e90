"""Settings in a JSON file, or in a directory with a file for each key of etcd. Does not know what they mean."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from pathlib import Path

from cfgmgr.store import Changed, tell
from eis.msgbus.interfaces import InvalidConfig

__all__ = ["FileStore"]

_log = logging.getLogger("cfgmgr")
_EVERY = 1.0  # seconds between two looks at what is watched
_OWN = ("config", "interfaces")  # the keys of an application's own config.json


class FileStore:
    """Read the keys of etcd from a JSON object (`/APP/config`), from an application's `config.json`, or from files."""

    def __init__(self, path: Path, app: str) -> None:
        self._path = path
        self._app = app
        self._read: dict[str, str] = self._look()
        self._closed = threading.Event()

    def get(self, key: str) -> str | None:
        """Return the value of a key, None if there is none.

        Raises:
            InvalidConfig: its file is there, but is empty or cannot be read.
        """
        file = self._path / _name(key)
        if _name(key) not in self._read and (problem := _problem(file)):
            raise InvalidConfig(f"CONFIGMGR_SOURCE: cannot read it: {problem}", str(file))
        return self._read.get(_name(key))

    def get_prefix(self, prefix: str) -> dict[str, str]:
        """Return the values of all keys that begin with `prefix`."""
        return _matching(self._read, prefix, prefix=True)

    def watch(self, key: str, changed: Changed, *, prefix: bool = False) -> None:
        """Call `changed` from a thread whenever a value differs from what it was, beginning with what was read."""
        threading.Thread(target=self._follow, args=(key, changed, prefix), name="cfgmgr-files", daemon=True).start()

    def close(self) -> None:
        """End the threads of all watches."""
        self._closed.set()

    def _follow(self, key: str, changed: Changed, prefix: bool) -> None:
        known = _matching(self._read, key, prefix=prefix)
        while not self._closed.wait(_EVERY):
            try:
                found = _matching(self._look(), key, prefix=prefix)
            except InvalidConfig as error:  # it is being written
                _log.debug("%s", error)
                continue
            for name, value in found.items():
                if known.get(name) != value:
                    tell(changed, name, value)
            known |= found

    def _look(self) -> dict[str, str]:
        try:
            return self._look_into_directory() if self._path.is_dir() else self._look_into_file()
        except (OSError, ValueError, RecursionError) as error:
            problem = getattr(error, "strerror", None) or "expected a JSON object"
            raise InvalidConfig(
                f"CONFIGMGR_SOURCE: cannot read it: {problem}", str(self._path)
            ) from None  # has secrets

    def _look_into_file(self) -> dict[str, str]:
        stored = json.loads(self._path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError  # noqa: TRY004  # as JSON that is none
        named = {f"{self._app}/{key}" if key in _OWN else _name(key): value for key, value in stored.items()}
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}

    def _look_into_directory(self) -> dict[str, str]:
        """Return what may be read: the secrets of other applications may be nobody's business here."""
        read = {}
        for file in self._path.rglob("*"):
            name = file.relative_to(self._path)
            if any(part.startswith(".") for part in name.parts):  # Kubernetes keeps some there
                continue
            with contextlib.suppress(OSError, UnicodeDecodeError):  # `get` says so of the one that is needed
                if file.is_file():
                    read[name.as_posix()] = file.read_text(encoding="utf-8").strip()
        return {name: text for name, text in read.items() if text}  # an empty file is one that is being written


def _name(key: str) -> str:
    return key.strip("/")


def _problem(file: Path) -> str:
    """Return why a file was not read; nothing if there is none."""
    try:
        if not file.is_file():
            return ""
        file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "expected text in UTF-8"
    except OSError as error:
        return error.strerror or str(error)
    return "expected a value, got an empty file; it may still be written"


def _matching(stored: dict[str, str], key: str, *, prefix: bool) -> dict[str, str]:
    if prefix:
        return {f"/{name}": value for name, value in stored.items() if f"/{name}".startswith(f"/{key.lstrip('/')}")}
    return {key: stored[_name(key)]} if _name(key) in stored else {}
