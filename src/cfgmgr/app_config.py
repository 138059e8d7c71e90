"""An application's own settings, and the changes of what is stored. Does not know where that is."""

from __future__ import annotations

from typing import Any

from cfgmgr.store import Changed, Store

__all__ = ["AppCfg", "Watch"]


class AppCfg(dict[str, Any]):
    """Be the dict of an application's own settings."""

    def get_dict(self) -> dict[str, Any]:
        """Return the settings."""
        return self


class Watch:
    """Call a function, from a thread, with the key and the new text of whatever changes.

    What changed since the `ConfigMgr` was made is told too.
    """

    def __init__(self, store: Store, app: str) -> None:
        self._store = store
        self._app = app

    def watch(self, key: str, callback: Changed) -> None:
        """Watch one key: `/APP/config`."""
        self._store.watch(key, callback)

    def watch_prefix(self, prefix: str, callback: Changed) -> None:
        """Watch every key that begins with `prefix`: `/APP/`."""
        self._store.watch(prefix, callback, prefix=True)

    def watch_config(self, callback: Changed) -> None:
        """Watch the application's own settings."""
        self.watch(f"/{self._app}/config", callback)

    def watch_interface(self, callback: Changed) -> None:
        """Watch the application's interfaces."""
        self.watch(f"/{self._app}/interfaces", callback)
