"""`ConfigMgr`: what an EIS/EII application asks for its settings, its interfaces and their changes. Opens no socket."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import ChainMap
from typing import Any

from cfgmgr.app_config import AppCfg, Watch
from cfgmgr.entries import Client, Publisher, Server, Subscriber
from cfgmgr.opening import open_store
from cfgmgr.store import Store
from eis.msgbus.interfaces import Application, InvalidConfig, Keys

__all__ = ["ConfigMgr"]

_log = logging.getLogger("cfgmgr")
_DECIDED = re.compile(r"AppName|DEV_MODE|KVStore|(ETCD|CONFIGMGR)_.*", re.DOTALL)
"""The variables that say who this is, where its settings are and how they are guarded: no setting may change them."""
_KEPT = "MSGBUS_REQUIRE_ENCRYPTION"
"""What a setting may say, but not take back."""


class ConfigMgr:
    """Read the application that `AppName` names, from etcd or from the file or directory in `CONFIGMGR_SOURCE`.

    What stands in `/GlobalEnv/` is put into the environment first, but for what led to it: see `_DECIDED`.

    Raises:
        InvalidConfig: what is wrong, and where.
    """

    def __init__(self) -> None:
        self._name = _variable("AppName")
        dev_mode = _variable("DEV_MODE").lower() == "true"
        self._store = open_store(os.environ, self._name, dev_mode=dev_mode)
        try:
            _export(_object(self._store, "/GlobalEnv/") or {})
            config, interfaces = _stored(self._store, self._name)
            keys = None if dev_mode else _keys(self._store, self._name)
            decided = ChainMap({"DEV_MODE": str(dev_mode)}, os.environ)  # whatever it says by now
            self._application = Application(interfaces, self._name, keys, decided)
        except BaseException:
            self._store.close()
            raise
        self._config = config

    def get_app_config(self) -> AppCfg:
        """Return the application's own settings."""
        return AppCfg(self._config)

    def get_app_name(self) -> str:
        """Return what `AppName` says."""
        return self._name

    def is_dev_mode(self) -> bool:
        """Tell whether `DEV_MODE` says `true`: there are no keys then."""
        return self._application.dev_mode

    def get_watch_obj(self) -> Watch:
        """Return what tells of changes."""
        return Watch(self._store, self._name)

    def get_num_publishers(self) -> int:
        """Return how many publishers there are."""
        return len(self._application.publishers)

    def get_num_subscribers(self) -> int:
        """Return how many subscribers there are."""
        return len(self._application.subscribers)

    def get_num_servers(self) -> int:
        """Return how many servers there are."""
        return len(self._application.servers)

    def get_num_clients(self) -> int:
        """Return how many clients there are."""
        return len(self._application.clients)

    def get_publisher_by_name(self, name: str) -> Publisher:
        """Return the publisher whose `Name` it is."""
        return Publisher(self._application.publisher(name))

    def get_publisher_by_index(self, index: int) -> Publisher:
        """Return the publisher at a position, from 0."""
        return Publisher(self._application.publisher(index))

    def get_subscriber_by_name(self, name: str) -> Subscriber:
        """Return the subscriber whose `Name` it is."""
        return Subscriber(self._application.subscriber(name))

    def get_subscriber_by_index(self, index: int) -> Subscriber:
        """Return the subscriber at a position, from 0."""
        return Subscriber(self._application.subscriber(index))

    def get_server_by_name(self, name: str) -> Server:
        """Return the server whose `Name` it is."""
        return Server(self._application.server(name))

    def get_server_by_index(self, index: int) -> Server:
        """Return the server at a position, from 0."""
        return Server(self._application.server(index))

    def get_client_by_name(self, name: str) -> Client:
        """Return the client whose `Name` it is."""
        return Client(self._application.client(name))

    def get_client_by_index(self, index: int) -> Client:
        """Return the client at a position, from 0."""
        return Client(self._application.client(index))

    def close(self) -> None:
        """End all watches; they end with the process too."""
        self._store.close()


def _variable(name: str) -> str:
    if not (value := os.environ.get(name)):
        raise InvalidConfig("expected the environment variable to be set", name)
    return value


def _stored(store: Store, app: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings and the interfaces of an application; it may do without one of them."""
    config, interfaces = (_object(store, f"/{app}/{what}") for what in ("config", "interfaces"))
    if config is None and interfaces is None:
        raise InvalidConfig(f"expected /{app}/config and /{app}/interfaces, got neither", "AppName")
    return config or {}, interfaces or {}


def _object(store: Store, key: str) -> dict[str, Any] | None:
    """Return the JSON object that is stored under a key, None if nothing is."""
    if (text := store.get(key)) is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"expected a JSON object: {error}", key) from None  # it has the whole text, with secrets
    if not isinstance(value, dict):
        raise InvalidConfig(f"expected a JSON object, got {type(value).__name__}", key)
    return value


def _export(variables: dict[str, Any]) -> None:
    """Put variables into the environment, all of them or none; those in `_DECIDED` stay as they are."""
    for name, value in variables.items():
        _check(name, value)
    for name in filter(_DECIDED.fullmatch, variables):
        if not os.environ.get(name):
            _log.warning("/GlobalEnv/.%s is not used: only the environment of the process says it", name)
    os.environ.update({name: value for name, value in variables.items() if not _DECIDED.fullmatch(name)})


def _check(name: str, value: Any) -> None:
    where = f"/GlobalEnv/.{name}"
    if not isinstance(value, str):
        raise InvalidConfig(f"expected text, got {type(value).__name__}", where)
    if not (name and _possible(name) and "=" not in name):
        raise InvalidConfig(f"expected the name of a variable, got {name!r}", "/GlobalEnv/")
    if not _possible(value):
        raise InvalidConfig("expected text that an environment can hold, got some with NUL or half characters", where)
    if (name == _KEPT or _DECIDED.fullmatch(name)) and (own := os.environ.get(name)) and not _same(name, own, value):
        raise InvalidConfig("expected what the environment of the process says, got something else", where)


def _possible(text: str) -> bool:
    """Tell whether an environment can hold a text."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say
        return False


def _same(name: str, own: str, value: str) -> bool:
    """Tell whether two values mean the same."""
    return own == value or (name == "DEV_MODE" and (own.lower() == "true") == (value.lower() == "true"))


def _keys(store: Store, app: str) -> Keys:
    public = store.get_prefix("/Publickeys/")
    return Keys(
        {name.removeprefix("/Publickeys/"): key.strip() for name, key in public.items()},
        (store.get(f"/{app}/private_key") or "").strip(),
    )
