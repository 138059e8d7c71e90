"""Who gets in: the lists of clients, users and groups, wherever they stand. Knows no address."""

from __future__ import annotations

from collections.abc import Mapping

from eis.msgbus import keys
from eis.msgbus._config.entries import PUBLISH, Entry, Fixed, meant, place, places
from eis.msgbus._config.values import Clients, Users
from eis.msgbus.exceptions import InvalidConfig

__all__ = ["Lists"]

_OF_THE_OTHER_MODE = {
    "zmq_ipc": (
        "zmq_ipc knows no keys: the group of the socket files decides, or allowed_users and allowed_groups",
        ("allowed_clients", "clients", "require_encryption", "topics"),
    ),
    "zmq_tcp": (
        "zmq_tcp has no socket files: allowed_clients decides who gets in",
        ("socket_group", "allowed_users", "allowed_groups"),
    ),
}
"""By type, what restricts access in the other mode only: ignored, it would leave a door open that was to be closed."""


_NO_WILDCARD = (
    "expected public keys or names in clients, got '*': "
    "leave allowed_clients out to let in every client that knows the server's public key"
)
_ENTRY_LISTS = ("allowed_clients", "topics", "allowed_users", "allowed_groups")


class Lists:
    """Say who gets in at each endpoint.

    Raises:
        InvalidConfig: here already, whichever list is wrong: before any endpoint asks for it.
    """

    def __init__(self, fixed: Fixed, entries: Mapping[str, Entry]) -> None:
        self._fixed = fixed
        self._entries = entries
        self._named = fixed.clients or {}
        self._refuse_other_mode(fixed, "")
        self._listed(fixed.allowed_clients or (), "allowed_clients")
        for name, entry in (*entries.items(), (PUBLISH, fixed.zmq_tcp_publish or Entry())):
            self._check(name, entry)

    def _check(self, name: str, entry: Entry) -> None:
        where = place(name)
        self._refuse_other_mode(entry, f"{where}.")
        if name != PUBLISH and entry.topics is not None:
            raise InvalidConfig(f"expected it in {PUBLISH} only, which says who may read what", f"{where}.topics")
        if entry.brokered and name:
            self._refuse(entry, f"{where}.", "the broker decides who gets in, not who is brokered", _ENTRY_LISTS)
        self.clients(where, entry)

    def _refuse_other_mode(self, given: Fixed | Entry, where: str) -> None:
        problem, names = _OF_THE_OTHER_MODE.get(self._fixed.type, ("", ()))
        self._refuse(given, where, problem, names)

    @staticmethod
    def _refuse(given: Fixed | Entry, where: str, problem: str, names: tuple[str, ...]) -> None:
        for name in names:
            if getattr(given, name, None) not in (None, False):
                raise InvalidConfig(problem, f"{where}{name}")

    def users(self, name: str) -> Users | None:
        """Return whose programs get in at the socket file of a publisher or service; None: all that reach it."""
        for key in (name, ""):
            entry = self._entries.get(key)
            if entry is not None and (entry.allowed_users is not None or entry.allowed_groups is not None):
                return Users(entry.allowed_users or (), entry.allowed_groups or (), place(key))
        return None

    def need_keys(self, entry: Entry) -> str | None:
        """Return the key that says who gets in where clients have keys, None if every client does."""
        if entry.topics is not None:
            return "topics"
        if entry.allowed_clients is not None or self._fixed.allowed_clients is not None:
            return "allowed_clients"
        return "clients" if self._fixed.clients is not None else None

    def clients(self, where: str, entry: Entry) -> Clients | None:
        """Return who gets in: the list of the entry, else that of all, else who is named or may read some topic."""
        if self.need_keys(entry) is None:
            return None
        topics = {
            topic: self._listed(clients, f"{where}.topics.{place(topic)}")
            for topic, clients in (entry.topics or {}).items()
        }
        if entry.allowed_clients is not None:
            names = self._listed(entry.allowed_clients, f"{where}.allowed_clients")
        elif self._fixed.allowed_clients is not None:
            names = self._listed(self._fixed.allowed_clients, "allowed_clients")
        elif entry.topics is not None:
            names = {key: name for listed in topics.values() for key, name in listed.items()}
        else:
            names = {key: name for name, key in self._named.items()}
        readers = {topic: frozenset(listed.values()) for topic, listed in topics.items()}
        return Clients(names, readers if entry.topics is not None else None)

    def _listed(self, clients: tuple[str, ...], where: str) -> dict[str, str]:
        """Return the names of the clients of a list, which holds names and keys, by their keys."""
        listed = {}
        names = {key: name for name, key in self._named.items()}
        for at, client in places(clients, where):
            if client in self._named:
                listed[self._named[client]] = client
            elif client == "*" and where.endswith("allowed_clients"):
                raise InvalidConfig(_NO_WILDCARD, at)
            elif keys.is_key(client) or not self._named:
                listed[keys.check(client, at)] = names.get(client, client)
            else:
                hint = f"; did you mean {close!r}?" if (close := meant(self._named, client)) else ""
                raise InvalidConfig(f"expected a key or one of the names in clients{hint}", at)
        return listed
