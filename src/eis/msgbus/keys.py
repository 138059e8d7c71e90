"""CURVE key pairs: make, compare, write and read them. Does not know who connects.

Keys are text: 32 bytes in Z85, the alphabet of ZeroMQ's RFC 32, so 40 characters. A file holds one key and the end of
its line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import struct
import sys
from pathlib import Path

import zmq
from zmq.utils import z85

from eis.msgbus.exceptions import InvalidConfig, MessageBusError

__all__ = ["KeyPair", "is_pair", "new_key_pair", "public_key", "read_pair", "read_public", "read_secret", "write_pair"]

LENGTH = 40
_ALPHABET = frozenset(z85.Z85CHARS.decode())
_ZERO = "0" * LENGTH
_LONGEST_FILE = 1000  # bytes that are read of one
_SECRET, _PUBLIC = 0o600, 0o644  # modes
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # for what turns out to be a FIFO

FileName = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """Hold a public key and the secret that belongs to it, both Z85 text. The secret is in no repr."""

    public: str
    secret: str = dataclasses.field(repr=False)


def new_key_pair() -> KeyPair:
    """Make a new pair from the system's random numbers."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def public_key(secret: str) -> str:
    """Return the public key that belongs to `secret`.

    Raises:
        InvalidConfig: `secret` is no key.
    """
    check(secret, "secret")
    return zmq.curve_public(secret.encode()).decode()


def is_pair(public: str, secret: str) -> bool:
    """Tell whether the two keys belong together.

    Raises:
        InvalidConfig: `secret` is no key.
    """
    return public_key(secret) == public


def write_pair(pair: KeyPair, path: FileName) -> None:
    """Write a pair to two new files, `PATH.secret` (mode 0600) and `PATH.public` (0644): both, or none of them.

    Raises:
        InvalidConfig: the keys are no pair.
        MessageBusError: one of the files exists, or cannot be written.
    """
    if not is_pair(pair.public, pair.secret):
        raise InvalidConfig("expected the public key of the secret, got another", "public")
    secret, public = _names(path)
    with contextlib.ExitStack() as undo:
        _write(secret, pair.secret, _SECRET)
        undo.callback(secret.unlink)
        _write(public, pair.public, _PUBLIC)
        undo.pop_all()


def read_pair(path: FileName) -> KeyPair:
    """Read what `write_pair` wrote.

    Raises:
        InvalidConfig: as `read_secret` and `read_public`; or the two are no pair.
    """
    secret, public = _names(path)
    pair = KeyPair(read_public(public), read_secret(secret))
    if not is_pair(pair.public, pair.secret):
        raise InvalidConfig(f"expected the public key of {secret}, got another", str(public))
    return pair


def read_public(path: FileName) -> str:
    """Read a public key from a file that not everybody may change.

    Raises:
        InvalidConfig: no such file, everybody may change it, or something else is in it; `where` is the path.
    """
    return _read(Path(path), secret=False)


def read_secret(path: FileName) -> str:
    """Read a secret from a file that nobody else may read or change: mode 0600 or less, owned by this user or root.

    On Windows, which keeps rights elsewhere, neither mode nor owner are looked at.

    Raises:
        InvalidConfig: no such file, others may read it, it is a link, or something else is in it; with what to do.
    """
    return _read(Path(path), secret=True)


def _names(path: FileName) -> tuple[Path, Path]:
    return Path(f"{os.fspath(path)}.secret"), Path(f"{os.fspath(path)}.public")


def _write(path: Path, key: str, mode: int) -> None:
    """Write a new file, complete on the disk when this returns; leave none where that fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, mode)
    except OSError as error:
        raise MessageBusError(f"cannot make {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="ascii", newline="\n") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(descriptor)
    except BaseException as error:
        path.unlink()
        if isinstance(error, OSError):
            raise MessageBusError(f"cannot write {path}: {error.strerror}") from error
        raise


def _read(path: Path, *, secret: bool) -> str:
    name = str(path)
    if secret and path.is_symlink():
        raise InvalidConfig("it is a link: name the file that it leads to", name)
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_WAIT | (_NO_LINK if secret else 0))
    except (OSError, ValueError) as error:  # the latter of a path that no file can have
        raise InvalidConfig(f"cannot read it: {getattr(error, 'strerror', error)}", name) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidConfig("expected a file with a key, got something else", name)
        _check_rights(status, name, secret=secret)
        text = os.read(descriptor, _LONGEST_FILE)
    finally:
        os.close(descriptor)
    return check(text.decode("ascii", "replace").strip(), name)


def _check_rights(status: os.stat_result, name: str, *, secret: bool) -> None:
    if sys.platform == "win32":
        return
    mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
    if not secret:
        if status.st_mode & stat.S_IWOTH:  # whoever puts a key of their own there is let in, or taken for the server
            raise InvalidConfig(f"everybody may change it ({mode}): chmod o-w {name}", name)
        return
    if status.st_uid not in (user := os.geteuid(), 0):
        problem = f"it belongs to user {status.st_uid}, who can change it: chown {user} {name}"
        raise InvalidConfig(problem, name)
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        problem = f"others have rights to it ({mode}): chmod 600 {name}"
        raise InvalidConfig(problem, name)


def check(key: object, where: str) -> str:
    """Return `key` if it is one. The text of the error never holds any of it: it may be a secret.

    Raises:
        InvalidConfig: wrong type, length or alphabet, or nothing but zeros; `where` names its place.
    """
    expected = f"expected a key of {LENGTH} characters in Z85"
    if not isinstance(key, str):
        raise InvalidConfig(f"{expected}, got {type(key).__name__}", where)
    if len(key) != LENGTH:
        raise InvalidConfig(f"{expected}, got {len(key)} characters", where)
    if strange := sum(character not in _ALPHABET for character in key):
        raise InvalidConfig(f"{expected}, got {strange} characters outside its alphabet", where)
    if key == _ZERO or not _is_32_bytes(key):
        raise InvalidConfig(f"{expected}, got characters that no key has", where)
    return key


def is_key(text: str) -> bool:
    """Tell whether `text` has the form of a key."""
    try:
        check(text, "")
    except InvalidConfig:
        return False
    return True


def _is_32_bytes(key: str) -> bool:
    """Tell whether each five characters are a number of 32 bits."""
    try:
        bits(key)
    except struct.error:
        return False
    return True


def bits(key: str) -> bytes:
    """Return the 32 bytes of a key that was checked, as the access control of ZeroMQ compares them."""
    return bytes(z85.decode(key))
