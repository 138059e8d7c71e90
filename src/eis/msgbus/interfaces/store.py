"""The keys of the applications, as the original's key-value store has them. Does not know who uses them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from eis.msgbus.exceptions import InvalidConfig

__all__ = ["Keys", "read_keys"]


@dataclasses.dataclass(frozen=True)
class Keys:
    """Hold the Z85 public keys of all applications, by name, and the secret of this one.

    The secret is empty where the application was given none: it can do without as long as it only uses `zmq_ipc`.
    """

    public: Mapping[str, str]
    secret: str = dataclasses.field(repr=False)


def read_keys(source: str | os.PathLike[str], app: str) -> Keys:
    """Return the keys of `app` and the public keys of all applications.

    `source` is a JSON file or a directory, with the names of the original's key-value store: `Publickeys/NAME` and
    `NAME/private_key`.

    Raises:
        InvalidConfig: it cannot be read, or lacks the secret of `app`.
    """
    path = Path(source)
    try:
        stored = _stored_in_directory(path, app) if path.is_dir() else _stored_in_file(path)
    except (OSError, ValueError, RecursionError) as error:
        problem = getattr(error, "strerror", None) or "expected a JSON object"
        raise InvalidConfig(f"cannot read keys: {problem}", str(path)) from None  # the error holds the text
    public = {name.removeprefix("Publickeys/"): key for name, key in stored.items() if name.startswith("Publickeys/")}
    if not (secret := stored.get(f"{app}/private_key")):
        raise InvalidConfig(f"expected {app}/private_key, got nothing", str(path))
    return Keys(public, secret)


def _stored_in_directory(path: Path, app: str) -> dict[str, str]:
    files = [*(path / "Publickeys").iterdir(), path / app / "private_key"]
    return {str(file.relative_to(path)): file.read_text().strip() for file in files if file.is_file()}


def _stored_in_file(path: Path) -> dict[str, str]:
    stored = json.loads(path.read_text())
    if not isinstance(stored, dict):
        raise ValueError  # noqa: TRY004  # as JSON that is none
    return {name.strip("/"): str(key) for name, key in stored.items()}
