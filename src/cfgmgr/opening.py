"""Which store the environment names. Does not know what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cfgmgr.store import Store
from eis.msgbus.interfaces import InvalidConfig

__all__ = ["open_store"]


def open_store(environment: Mapping[str, str], app: str, *, dev_mode: bool) -> Store:
    """Return the store that the environment names: `CONFIGMGR_SOURCE`, a file or a directory, or else etcd.

    Raises:
        InvalidConfig: it cannot be read, or a variable is wrong.
    """
    if source := environment.get("CONFIGMGR_SOURCE"):
        from cfgmgr.files import FileStore

        return FileStore(Path(source), app)
    if (kind := environment.get("KVStore") or "etcd") != "etcd":
        raise InvalidConfig(f"expected 'etcd', or CONFIGMGR_SOURCE to be set, got {kind!r}", "KVStore")
    try:
        from cfgmgr.etcd import EtcdStore, address_of, credentials_of
    except ImportError as error:
        problem = f"etcd needs pip install 'eis-msgbus[etcd]', or set CONFIGMGR_SOURCE to a file or directory: {error}"
        raise InvalidConfig(problem, "KVStore") from error
    credentials = None if dev_mode else credentials_of(environment, app)
    return EtcdStore(address_of(environment), credentials, environment.get("ETCD_PREFIX", ""))
