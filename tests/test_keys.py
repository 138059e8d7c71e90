"""Key pairs: made, derived, checked, and never shown."""

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from eis.msgbus import keys
from eis.msgbus.exceptions import InvalidConfig

PUBLIC = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"  # both are those of ZeroMQ's manual, zmq_curve
SECRET = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"


def test_new_pair_is_one_that_zeromq_takes() -> None:
    pair = keys.new_key_pair()
    assert zmq.curve_public(pair.secret.encode()).decode() == pair.public


def test_new_pairs_differ() -> None:
    assert keys.new_key_pair() != keys.new_key_pair()


def test_public_key_belongs_to_its_secret() -> None:
    pair = keys.new_key_pair()
    assert keys.public_key(pair.secret) == pair.public


def test_secret_is_not_in_the_repr_of_a_pair() -> None:
    pair = keys.new_key_pair()
    assert repr(pair) == f"KeyPair(public={pair.public!r})"


def test_pair_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        keys.new_key_pair().public = PUBLIC  # type: ignore[misc]  # that it is frozen


@pytest.mark.parametrize("key", [PUBLIC, SECRET])
def test_check_returns_a_sound_key(key: str) -> None:
    assert keys.check(key, "somewhere") == key


@pytest.mark.parametrize(
    ("key", "got"),
    [
        (None, "got NoneType"),
        (b"x" * 40, "got bytes"),
        ("", "got 0 characters"),
        (SECRET[:-1], "got 39 characters"),
        (SECRET + "a", "got 41 characters"),
        (SECRET[:-2] + "\\~", "got 2 characters outside its alphabet"),
        (SECRET[:-1] + "\ud800", "got 1 characters outside its alphabet"),
        ("0" * 40, "got characters that no key has"),
        ("#" * 40, "got characters that no key has"),
    ],
)
def test_check_says_what_is_wrong_with_a_key(key: object, got: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        keys.check(key, "camera1.client_secret_key")
    assert str(caught.value) == (f"config camera1.client_secret_key: expected a key of 40 characters in Z85, {got}")


@given(st.text("ABCDEFGHIJ", min_size=4).map(lambda text: text + "~"))
def test_error_never_holds_a_key_when_it_is_wrong(key: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        keys.check(key, "")
    assert key[:4] not in str(caught.value)


def test_public_key_refuses_a_wrong_secret() -> None:
    with pytest.raises(InvalidConfig, match="secret: expected a key of 40"):
        keys.public_key("too short")


@given(st.binary(min_size=32, max_size=32).filter(any))
def test_any_32_bytes_but_zeros_are_a_key(bits: bytes) -> None:
    assert keys.bits(keys.check(z85.encode(bits).decode(), "")) == bits
