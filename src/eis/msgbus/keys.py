"""CURVE key pairs: make and compare them. Does not know who connects.

Keys are text: 32 bytes in Z85, the alphabet of ZeroMQ's RFC 32, so 40 characters.
"""

from __future__ import annotations

import dataclasses
import struct

import zmq
from zmq.utils import z85

from eis.msgbus.exceptions import InvalidConfig

__all__ = ["KeyPair", "new_key_pair", "public_key"]

LENGTH = 40
_ALPHABET = frozenset(z85.Z85CHARS.decode())
_ZERO = "0" * LENGTH


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
