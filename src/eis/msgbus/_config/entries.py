"""What a user may write: the keys, their types, and which values none of them takes. Knows no role and no mode."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from eis.msgbus import keys
from eis.msgbus.exceptions import InvalidConfig

__all__ = [
    "CLIENT_KEYS",
    "FIXED",
    "PUBLISH",
    "Entry",
    "Fixed",
    "meant",
    "not_a_file_name",
    "place",
    "places",
    "read_entry",
    "read_fixed",
]

S = TypeVar("S", bound=msgspec.Struct)

_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]  # what libzmq's int options hold
_Bytes = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)]  # of a user or group


class Entry(msgspec.Struct, frozen=True):
    """Hold what stands under the name of a topic or service, for either mode and any role."""

    host: str | None = None
    port: _Port | None = None
    server_public_key: str | tuple[str, ...] | None = None
    client_public_key: str | None = None
    client_secret_key: str | None = None
    server_secret_key: str | None = None
    socket_file: str | None = None
    brokered: bool | None = None
    allowed_clients: tuple[str, ...] | None = None
    topics: dict[str, tuple[str, ...]] | None = None
    allowed_users: tuple[str | _Id, ...] | None = None
    allowed_groups: tuple[str | _Id, ...] | None = None

    def __repr__(self) -> str:
        keys_given = [name for name in self.__struct_fields__ if name.endswith("_key") and getattr(self, name)]
        return f"Entry(host={self.host!r}, port={self.port!r}, socket_file={self.socket_file!r}, keys={keys_given})"


class Memory(msgspec.Struct, frozen=True):
    """Hold how much shared memory each publisher has for frames."""

    slots: Annotated[int, msgspec.Meta(ge=2, le=500)] | None = None
    max_bytes: _Bytes | None = None


class Fixed(msgspec.Struct, frozen=True):
    """Hold the keys that are no names of topics or services."""

    type: str = ""
    socket_dir: str | None = None
    zmq_tcp_publish: Entry | None = None
    allowed_clients: tuple[str, ...] | None = None
    zmq_recv_hwm: _Count | None = None
    zmq_connect_retries: _Count | None = None
    clients: dict[str, str] | None = None
    require_encryption: bool = False
    queue_bytes: _Bytes | None = None
    max_message_bytes: _Bytes | None = None
    stalled_after: _Milliseconds | None = None
    socket_group: str | _Id | None = None
    shared_directory: bool = False
    allow_open_directory: bool = False
    native: bool = True
    shared_memory: bool | Memory = True


CLIENT_KEYS = ("server_public_key", "client_public_key", "client_secret_key")
FIXED = frozenset(Fixed.__struct_fields__)
PUBLISH = "zmq_tcp_publish"
_LONGEST_NAME = 100  # bytes; ZAP has room for 255


def read_entry(name: str, value: Any) -> Entry:
    """Return what the user wrote under `name`, checked.

    Raises:
        InvalidConfig: a key of the entry, or its name, is wrong.
    """
    where = place(name)
    if name.startswith("zmq_") and name != PUBLISH:
        raise InvalidConfig(f"unknown key{_did_you_mean(FIXED, name)}", where)
    if name.startswith("@"):
        raise InvalidConfig("expected a name that does not begin with @", where)
    if not isinstance(value, Mapping):
        got = type(value).__name__
        raise InvalidConfig(f"expected an object for a topic or service, got {got}{_did_you_mean(FIXED, name)}", where)
    entry = _converted(value, Entry, where)
    _check_entry(entry, where)
    return entry


def read_fixed(config: Mapping[str, Any]) -> Fixed:
    """Return the keys that are no names of topics or services, checked.

    Raises:
        InvalidConfig: one of them is wrong.
    """
    values = {name: config[name] for name in config if name in FIXED}
    if PUBLISH in values:
        values[PUBLISH] = read_entry(PUBLISH, values[PUBLISH])
    if isinstance(memory := values.get("shared_memory"), Mapping):
        for key, value in memory.items():
            _check_key(key, value, Memory.__struct_fields__, "shared_memory")
    fixed = _converted(values, Fixed, "")
    _check_clients(fixed.clients or {})
    if fixed.socket_dir is not None and (fixed.socket_dir[:1] in ("", "@") or not _is_text(fixed.socket_dir)):
        raise InvalidConfig(f"expected a directory, got {fixed.socket_dir!r}", "socket_dir")
    return fixed


def place(name: str) -> str:
    """Return a name as an error shows it."""
    return name if name and name.isprintable() else json.dumps(name)


def meant(known: Iterable[str], wrong: str) -> str:
    """Return the known word that is closest to a wrong one; empty where none is close."""
    import difflib  # only errors pay for it

    return "".join(difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.7))


def not_a_file_name(name: str) -> str:
    """Return why `name` cannot be that of a socket file; empty where it can."""
    if name.startswith("@") or name in ("", ".", "..") or "/" in name or "\\" in name or not _is_text(name):
        return f"cannot take {name!r}"
    return ""


def places(values: str | tuple[str, ...] | None, where: str) -> list[tuple[str, str]]:
    """Return each value of a list, or the one that stands alone, with its place."""
    if values is None or isinstance(values, str):
        return [] if values is None else [(where, values)]
    return [(f"{where}[{index}]", value) for index, value in enumerate(values)]


def _check_clients(clients: Mapping[str, str]) -> None:
    """Check the names of clients: a name stands in logs, and is told apart from a key."""
    named: dict[str, str] = {}
    for name, key in clients.items():
        where = "clients" if keys.is_key(name) else f"clients.{place(name)}"  # it may be a secret
        if not name.isprintable() or not 0 < len(name.encode()) <= _LONGEST_NAME or keys.is_key(name):
            raise InvalidConfig("expected a printable name of at most 100 bytes that is no key itself", where)
        if (other := named.setdefault(keys.check(key, where), name)) != name:
            raise InvalidConfig(f"expected a key of its own, got that of {other!r}", where)


def _did_you_mean(known: Collection[str], wrong: str) -> str:
    if wrong in known:
        return ""
    return f"; did you mean {close!r}?" if (close := meant(known, wrong)) else ""


def _is_text(value: str) -> bool:
    """Tell whether the operating system takes `value`: no NUL, no lone surrogate."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _converted(values: Mapping[str, Any], type: type[S], where: str) -> S:
    for key, value in values.items():
        _check_key(key, value, type.__struct_fields__, where)
    try:
        return msgspec.convert(dict(values), type)
    except msgspec.ValidationError as error:
        _refuse(str(error), values, where)
    except UnicodeEncodeError:  # not from it: it holds the text, which may be a secret
        wrong = [key for key, value in values.items() if isinstance(value, str) and not _is_text(value)]
        raise InvalidConfig("expected text that UTF-8 can hold", ".".join([where, *wrong[:1]]).strip(".")) from None


def _check_key(key: object, value: object, known: tuple[str, ...], where: str) -> None:
    if not isinstance(key, str):
        raise InvalidConfig(f"expected keys of type str, got {type(key).__name__}", where)
    if key not in known:
        hint = _did_you_mean(known, key) or f"; known are {', '.join(known)}"
        raise InvalidConfig(f"unknown key{hint}", f"{where}.{place(key)}")
    if value is None:  # it could mean a secret that was not found: that must not open the door
        raise InvalidConfig("expected a value, got None: leave the key out", f"{where}.{key}".removeprefix("."))


def _refuse(text: str, values: Mapping[str, Any], where: str) -> NoReturn:
    """Raise msgspec's words with the path of the key in front: ``Expected `int`, got `str` - at `$.port` ``."""
    problem, _, path = text.replace("`", "").replace(" | null", "").partition(" - at $")
    problem = problem[:1].lower() + problem[1:]
    if ", got " not in problem:  # a number out of its range
        number: Any = values
        for step in re.findall(r"[^.\[\]]+", path):
            number = number[int(step) if isinstance(number, list | tuple) else step]
        problem += f", got {number if abs(number) < 2**63 else 'one of many digits'}"
    raise InvalidConfig(problem, (where + path).removeprefix("."))


def _check_entry(entry: Entry, where: str) -> None:
    if entry.host is not None and not _is_host(entry.host):
        hint = ": the port has a key of its own" if ":" in entry.host else ""
        raise InvalidConfig(f"expected a host name or address, got {entry.host!r}{hint}", f"{where}.host")
    if entry.socket_file is not None and (problem := not_a_file_name(entry.socket_file)):
        raise InvalidConfig(f"{problem}, expected the plain name of a file", f"{where}.socket_file")
    for key in ("client_public_key", "client_secret_key", "server_secret_key"):
        if (value := getattr(entry, key)) is not None:
            keys.check(value, f"{where}.{key}")
    if entry.server_public_key == ():
        raise InvalidConfig("expected a key or a list of keys, got an empty list", f"{where}.server_public_key")
    for at, value in places(entry.server_public_key, f"{where}.server_public_key"):
        keys.check(value, at)
    public, secret = entry.client_public_key, entry.client_secret_key
    if public is not None and secret is not None and not keys.is_pair(public, secret):
        problem = "expected the secret of client_public_key, got the secret of another"
        raise InvalidConfig(problem, f"{where}.client_secret_key")


def _is_host(host: str) -> bool:
    try:
        if ":" in host:
            return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).version == 6
        return bool(host.encode("idna")) and host.isprintable() and not any(character in host for character in " /;")
    except ValueError:  # a label too long, what no name has, or a colon in what is no IPv6 address
        return False
