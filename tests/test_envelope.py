"""What a message is: pairs, getters, blobs as bytes and as views, comparing, copying, printing."""

import copy
import pickle
from array import array
from typing import Any

import numpy as np
import pytest

from eis.msgbus.envelope import MsgEnvelope

META = {"frame": 1}


@pytest.fixture
def envelope() -> MsgEnvelope[Any]:
    return MsgEnvelope(dict(META), b"HELLO", "camera1")


# A pair of metadata and blob.


def test_envelope_unpacks_into_metadata_and_blob(envelope: MsgEnvelope[Any]) -> None:
    meta_data, blob = envelope
    assert (meta_data, blob) == (META, b"HELLO")


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, META),
        (1, b"HELLO"),
        (-1, b"HELLO"),
        (-2, META),
        (slice(None), (META, b"HELLO")),
        (slice(1, None), (b"HELLO",)),
        (slice(2, 5), ()),
    ],
)
def test_index_gives_what_a_pair_would(envelope: MsgEnvelope[Any], index: Any, value: object) -> None:
    assert envelope[index] == value


@pytest.mark.parametrize("index", [2, -3])
def test_index_beyond_the_pair_is_an_index_error(envelope: MsgEnvelope[Any], index: int) -> None:
    with pytest.raises(IndexError):
        envelope[index]


def test_reading_by_key_is_a_type_error(envelope: MsgEnvelope[Any]) -> None:
    with pytest.raises(TypeError):
        envelope["frame"]


def test_setting_by_key_changes_the_metadata(envelope: MsgEnvelope[Any]) -> None:
    envelope["height"] = 1080
    assert envelope.meta_data == {"frame": 1, "height": 1080}


def test_setting_by_key_makes_metadata_when_there_is_none() -> None:
    envelope: MsgEnvelope[Any] = MsgEnvelope(None, b"x")
    envelope["key"] = "value"
    assert envelope.meta_data == {"key": "value"}


def test_getters_return_the_attributes(envelope: MsgEnvelope[Any]) -> None:
    assert (envelope.get_name(), envelope.get_meta_data(), envelope.get_blob()) == ("camera1", META, b"HELLO")


def test_envelope_of_nothing_holds_nothing() -> None:
    envelope: MsgEnvelope[Any] = MsgEnvelope()
    assert (envelope.name, envelope.meta_data, envelope.blob, envelope.view, envelope.views) == (None,) * 4 + ((),)


def test_envelope_takes_no_other_attribute(envelope: MsgEnvelope[Any]) -> None:
    with pytest.raises(AttributeError):
        envelope.nmae = "camera2"  # type: ignore[attr-defined]  # the typo that this is about


def test_envelope_has_no_length(envelope: MsgEnvelope[Any]) -> None:
    with pytest.raises(TypeError):
        len(envelope)  # type: ignore[arg-type]  # that it has none


def test_envelope_tells_where_metadata_are_when_it_is_asked_by_key(envelope: MsgEnvelope[Any]) -> None:
    with pytest.raises(TypeError, match=r"^expected 0, 1 or a slice, got 'n': metadata are in meta_data$"):
        envelope["n"]


def test_envelope_is_not_hashable(envelope: MsgEnvelope[Any]) -> None:
    with pytest.raises(TypeError):
        hash(envelope)


# Blobs.


@pytest.mark.parametrize(
    "blob", [bytearray(b"abc"), memoryview(b"abc"), array("B", b"abc"), np.frombuffer(b"abc", np.uint8)]
)
def test_blob_is_bytes_when_made_of_another_buffer(blob: Any) -> None:
    copied = MsgEnvelope(None, blob).blob
    assert (type(copied), copied) == (bytes, b"abc")


def test_blob_is_a_list_of_bytes_when_there_are_several() -> None:
    blob = MsgEnvelope({}, [bytearray(b"one"), b"two", memoryview(b"")]).blob
    assert (blob, {type(part) for part in blob}) == ([b"one", b"two", b""], {bytes})


@pytest.mark.parametrize(
    ("given", "blob"), [([], None), ((), None), ([b"one"], b"one"), ((bytearray(b"one"),), b"one")]
)
def test_blob_is_no_list_when_there_is_at_most_one(given: Any, blob: bytes | None) -> None:
    assert MsgEnvelope({}, given).blob == blob


def test_blob_is_copied_once_when_asked_for_twice() -> None:
    envelope: MsgEnvelope[Any] = MsgEnvelope({}, bytearray(b"frame"))
    assert envelope.blob is envelope.blob


def test_blob_is_the_given_bytes_themselves() -> None:
    blob = b"frame" * 100
    assert MsgEnvelope({}, blob).blob is blob


def test_blob_can_be_replaced(envelope: MsgEnvelope[Any]) -> None:
    envelope.blob = bytearray(b"new")
    assert envelope.blob == b"new"


def test_view_shares_memory_with_the_blob_and_is_read_only() -> None:
    pixels = np.zeros((2, 3), np.uint16)
    view = MsgEnvelope(None, pixels).view
    pixels[0, 0] = 0x0102
    assert view is not None
    assert (view.nbytes, view.format, view.readonly, sum(view)) == (12, "B", True, 3)


def test_view_is_that_of_the_first_blob_and_views_those_of_all() -> None:
    envelope: MsgEnvelope[Any] = MsgEnvelope({}, [b"one", bytearray(b"two")])
    assert envelope.view is not None
    assert (bytes(envelope.view), [bytes(view) for view in envelope.views]) == (b"one", [b"one", b"two"])


@pytest.mark.parametrize("blob", [b"", np.zeros((0, 4))])
def test_view_of_an_empty_blob_is_empty(blob: Any) -> None:
    view = MsgEnvelope(None, blob).view
    assert view is not None
    assert view.nbytes == 0


# Bytes, equality.


def test_bytes_are_the_blob_when_there_is_no_metadata() -> None:
    assert bytes(MsgEnvelope(None, bytearray(b"HELLO"))) == b"HELLO"


@pytest.mark.parametrize("parts", [({}, b"x"), (META, None), (None, None), (None, [b"a", b"b"])])
def test_bytes_of_anything_else_is_a_type_error(parts: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError, match="only a message of one blob and no metadata"):
        bytes(MsgEnvelope(*parts))


@pytest.mark.parametrize("other", [MsgEnvelope(META, bytearray(b"HELLO"), "camera2"), (META, b"HELLO"), META, b"HELLO"])
def test_envelope_equals_what_holds_the_same(envelope: MsgEnvelope[Any], other: object) -> None:
    assert envelope == other


@pytest.mark.parametrize(
    "other", [MsgEnvelope(META), MsgEnvelope({}, b"HELLO"), (META,), (META, b""), {}, b"", "camera1", None, 1]
)
def test_envelope_differs_from_what_does_not(envelope: MsgEnvelope[Any], other: object) -> None:
    assert envelope != other


# Copies and print.


def test_envelope_stays_the_same_when_pickled() -> None:
    envelope = MsgEnvelope({"n": [1]}, [bytearray(b"one"), memoryview(b"two")], "camera1")
    twin = pickle.loads(pickle.dumps(envelope))  # noqa: S301  # made on this line
    assert (twin.name, twin.meta_data, twin.blob) == ("camera1", {"n": [1]}, [b"one", b"two"])


def test_copy_shares_metadata_and_deepcopy_does_not(envelope: MsgEnvelope[Any]) -> None:
    shallow, deep = copy.copy(envelope), copy.deepcopy(envelope)
    envelope["late"] = True
    assert (shallow.meta_data, deep.meta_data, deep.name) == (envelope.meta_data, META, "camera1")


def test_repr_tells_name_metadata_and_the_sizes_of_the_blobs() -> None:
    envelope = MsgEnvelope({"a": 1}, [b"one", np.zeros((0, 2))], "camera1")
    assert repr(envelope) == "MsgEnvelope(name='camera1', meta_data={'a': 1}, blob=<3, 0 bytes>)"


def test_repr_says_no_bytes_when_there_is_no_blob() -> None:
    assert repr(MsgEnvelope({})) == "MsgEnvelope(name=None, meta_data={}, blob=<no bytes>)"


def test_repr_stays_short_when_the_message_is_large() -> None:
    assert len(repr(MsgEnvelope({"list": list(range(10**5)), "text": "x" * 10**6}, b"x" * 10**6))) < 300


def test_repr_of_what_cannot_be_sent_does_not_raise() -> None:
    assert repr(MsgEnvelope(None, "text")) == "MsgEnvelope(name=None, meta_data=None, blob=<? bytes>)"


def test_unequal_is_the_opposite_of_equal() -> None:
    envelope = MsgEnvelope({"n": 1}, b"x")
    assert not envelope != ({"n": 1}, b"x")  # noqa: SIM202  # it is what is tested
    assert not envelope != MsgEnvelope({"n": 1}, b"x", "other")  # noqa: SIM202
    assert envelope != ({"n": 2}, b"x")
    assert envelope != 1
