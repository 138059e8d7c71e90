"""Envelopes to frames and back: the original's frames, every rule of the wire, and whatever a stranger may send."""

import dataclasses
import enum
import json
import math
from collections import OrderedDict, UserDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eis.msgbus._wire import Decoder, encode, encode_name
from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import InvalidMessage, MessageBusError

GOLDEN = json.loads((Path(__file__).parent / "vectors" / "reference-frames.json").read_text(encoding="utf-8"))
LOSSY = {
    "not-finite",
    "big-integers",
}  # the original writes null for NaN, and integers from 10^15 without their last digits
NAME = b"camera1\0"


class Point(msgspec.Struct):
    x: int
    path: list[float] = []
    label: str | None = None


class Loose(msgspec.Struct):
    x: Any = None
    y: Any = None


@dataclasses.dataclass
class Size:
    width: int
    height: Any = None


class Level(enum.IntEnum):
    HIGH = 3


class Pair(NamedTuple):
    left: int
    right: int


def decoder(type: Any = dict) -> Callable[[Sequence[bytes]], MsgEnvelope[Any]]:  # as Decoder's
    """Return a function that reads frames in every way, one message and a row of them, and checks that they agree."""
    reader: Decoder[Any] = Decoder(type)

    def read(frames: Sequence[bytes]) -> MsgEnvelope[Any]:
        row: list[MsgEnvelope[Any]] = []
        try:
            envelope = reader(frames)
        except InvalidMessage as error:
            (problem,) = reader.each([frames], row.append)
            assert (problem.problem, problem.where, row) == (error.problem, error.where, [])  # noqa: PT017
            with pytest.raises(InvalidMessage) as caught:
                reader.one(frames)
            assert (caught.value.problem, caught.value.where) == (error.problem, error.where)  # noqa: PT017
            raise
        assert list(reader.each([frames, frames], row.append)) == []
        row.append(reader.one(frames))
        assert (row, [each.name for each in row]) == ([envelope] * 3, [envelope.name] * 3)
        return envelope

    return read


decode, read_point = decoder(), decoder(Point)


def golden(entry: dict[str, Any]) -> tuple[Any, list[bytes]]:
    """Return what was published, and its frames without the delimiter of a request."""
    frames = [bytes.fromhex(frame) for frame in entry["frames"]]
    return eval(entry["python"]), frames[1:] if frames[0] == b"" else frames  # noqa: S307  # our own file


def frames_of(message: Any) -> list[bytes]:
    return [bytes(frame) for frame in encode(NAME, message)]


def sent(message: Any) -> MsgEnvelope[Any]:
    return decode(frames_of(message))


def metadata_frame(message: Any) -> bytes:
    return frames_of(message)[3]


def refused(message: Any) -> str:
    with pytest.raises(InvalidMessage) as caught:
        encode(NAME, message)
    return str(caught.value)


def unreadable(*frames: bytes) -> str:
    with pytest.raises(InvalidMessage) as caught:
        decode(frames)
    assert caught.value.where == ""
    return str(caught.value)


# The original's own frames.


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["name"])
def test_originals_frames_decode(entry: dict[str, Any]) -> None:
    published, frames = golden(entry)
    meta_data, blob = decode(frames)
    readable = json.loads(frames[3]) if frames[1] == b"\0" else None
    blobs = frames[4:] if frames[1] == b"\0" else frames[3:]
    assert meta_data == readable
    assert blob == (blobs if len(blobs) > 1 else blobs[0] if blobs else None)
    assert decode(frames).name == frames[0].decode().removesuffix("\0")
    if entry["name"] not in LOSSY and isinstance(published, dict):
        assert meta_data == published


@pytest.mark.parametrize(
    "entry", [entry for entry in GOLDEN if entry["name"] not in LOSSY], ids=lambda entry: entry["name"]
)
def test_our_frames_mean_the_same_as_the_originals(entry: dict[str, Any]) -> None:
    published, frames = golden(entry)
    ours = [bytes(frame) for frame in encode(frames[0], published)]
    assert (ours[:3], ours[4:]) == (frames[:3], frames[4:])
    assert decode(ours) == decode(frames)


def test_originals_rounded_integers_are_floats_of_that_value() -> None:
    frames = next(golden(entry)[1] for entry in GOLDEN if entry["name"] == "big-integers")
    assert decode(frames).meta_data == {"a": 9.00719925474099e15, "b": 1e15, "c": 9.2233720368547758e18}


# Names.


@pytest.mark.parametrize("name", ["camera1", "", "pub-", "größe/1", "a b"])
def test_name_goes_out_with_one_nul_and_comes_in_without(name: str) -> None:
    frame = encode_name(name)
    assert (frame, decode([frame, b"\0", b"\1", b"{}"]).name) == (name.encode() + b"\0", name)


def test_name_of_an_old_peer_without_nul_is_accepted() -> None:
    assert decode([b"camera1", b"\0", b"\1", b"{}"]).name == "camera1"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (5, "name: expected str, got int"),
        (b"camera1", "name: expected str, got bytes"),
        ("a\0b", "name 'a\\x00b': expected no NUL inside"),
        ("\ud800", "name '\\ud800': expected text that UTF-8 can hold"),
    ],
)
def test_name_is_refused_when_the_wire_has_no_form_for_it(name: Any, text: str) -> None:
    with pytest.raises(MessageBusError) as caught:
        encode_name(name)
    assert str(caught.value) == text


def test_names_are_right_when_more_come_than_are_remembered() -> None:
    read = decoder()
    names = [f"camera{number}" for number in range(300)] + ["x" * 300]
    assert [read([encode_name(name), b"\0", b"\1", b"{}"]).name for name in (*names, *names)] == [*names, *names]


def test_names_of_a_stranger_do_not_fill_the_memory() -> None:
    read: Decoder[Any] = Decoder(dict)
    for name in ("x" * 300, *(f"camera{number}" for number in range(300))):
        read([encode_name(name), b"\0", b"\1", b"{}"])
    assert (len(read._names), max(map(len, read._names)) < 256) == (256, True)


# What a message may be.


@pytest.mark.parametrize(
    ("message", "frames"),
    [
        ({"a": 1}, [b"\0", b"\1", b'{"a":1}']),
        ({}, [b"\0", b"\1", b"{}"]),
        (b"HELLO", [b"\1", b"\1", b"HELLO"]),
        (b"", [b"\1", b"\1", b""]),
        (bytearray(b"HELLO"), [b"\1", b"\1", b"HELLO"]),
        ((b"HELLO",), [b"\1", b"\1", b"HELLO"]),
        (({"a": 1},), [b"\0", b"\1", b'{"a":1}']),
        ([b"one", {"a": 1}, b"two"], [b"\0", b"\3", b'{"a":1}', b"one", b"two"]),
        (({"a": 1}, b""), [b"\0", b"\2", b'{"a":1}', b""]),
        ((b"one", b"two"), [b"\0", b"\3", b"{}", b"one", b"two"]),
        (({"a": 1}, {"a": 2, "b": 3}), [b"\0", b"\1", b'{"a":2,"b":3}']),
        (MsgEnvelope({"a": 1}, b"x", "other"), [b"\0", b"\2", b'{"a":1}', b"x"]),
        (MsgEnvelope({"a": 1}), [b"\0", b"\1", b'{"a":1}']),
        (MsgEnvelope(None, b"x"), [b"\1", b"\1", b"x"]),
        (MsgEnvelope({}, [b"x", memoryview(b"y")]), [b"\0", b"\3", b"{}", b"x", b"y"]),
        (Point(1), [b"\0", b"\1", b'{"label":null,"path":[],"x":1}']),
        ((Size(1, 2), b"x"), [b"\0", b"\2", b'{"height":2,"width":1}', b"x"]),
        (MsgEnvelope(Size(1, 2)), [b"\0", b"\1", b'{"height":2,"width":1}']),
        (OrderedDict(a=1), [b"\0", b"\1", b'{"a":1}']),
    ],
)
def test_message_becomes_frames(message: Any, frames: list[bytes]) -> None:
    name, kind, count, *parts = frames_of(message)
    if kind == b"\0":
        parts[0] = json.dumps(json.loads(parts[0]), sort_keys=True, separators=(",", ":")).encode()
    assert [name, kind, count, *parts] == [NAME, *frames]


def test_merging_leaves_the_callers_dicts_as_they_were() -> None:
    first, second = {"a": 1}, {"b": 2}
    assert sent((first, second)).meta_data == {"a": 1, "b": 2}
    assert (first, second) == ({"a": 1}, {"b": 2})


def test_blob_of_an_array_is_its_memory_without_a_copy() -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    part = encode(NAME, ({}, pixels))[4]
    assert (np.shares_memory(np.frombuffer(part, np.uint8), pixels), len(part)) == (True, 24)


def test_blob_of_an_array_of_records_is_its_memory() -> None:
    records = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    assert frames_of(records)[3] == records.tobytes()


@pytest.mark.parametrize("array", [np.zeros((0, 4)), np.array([], np.uint8)])
def test_blob_of_an_empty_array_is_a_frame_of_no_bytes(array: Any) -> None:
    assert frames_of(({}, array))[4] == b""


def test_message_may_have_255_parts() -> None:
    envelope = sent(({"a": 1}, *[b"%d" % number for number in range(254)]))
    assert envelope.blob == [b"%d" % number for number in range(254)]


@pytest.mark.parametrize("message", [({}, *[b""] * 255), [b""] * 255])
def test_message_is_refused_when_it_has_256_parts(message: Any) -> None:
    assert refused(message) == "expected at most 255 parts, got 256"


@pytest.mark.parametrize("message", [(), [], MsgEnvelope(), MsgEnvelope(None, [])])
def test_message_is_refused_when_it_holds_nothing(message: Any) -> None:
    assert refused(message) == "expected metadata or a blob, got neither"


@pytest.mark.parametrize(
    ("message", "where", "kind"),
    [
        ("text", "blob 0", "str"),
        (None, "blob 0", "NoneType"),
        (5, "blob 0", "int"),
        (({}, b"", "text"), "blob 1", "str"),
        (({}, None), "blob 0", "NoneType"),
        (({}, [b"x"]), "blob 0", "list"),
        (Size, "blob 0", "type"),
        (UserDict(a=1), "blob 0", "UserDict"),
    ],
)
def test_message_is_refused_when_a_part_is_no_buffer(message: Any, where: str, kind: str) -> None:
    assert refused(message) == f"{where}: expected a dict, a buffer, or a tuple or list of them, got {kind}"


def released() -> memoryview:
    view = memoryview(b"x")
    view.release()
    return view


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (np.zeros((4, 4))[:, ::2], "C-contiguous"),
        (np.zeros((4, 4), order="F"), "C-contiguous"),
        (np.array([object()]), "objects"),
        (np.array(["2026-01-01"], dtype="M8[D]"), "buffer"),
        (released(), "released"),
    ],
    ids=["every second column", "columns first", "objects", "dates", "released view"],
)
def test_blob_is_refused_when_its_bytes_mean_nothing_elsewhere(blob: Any, words: str) -> None:
    text = refused(({}, b"", blob))
    assert text.startswith("blob 1: ")
    assert words in text


def test_metadata_of_an_envelope_is_refused_when_it_is_no_object() -> None:
    assert refused(MsgEnvelope([1])) == "metadata: expected a dict, got list"


@pytest.mark.parametrize("message", [({"a": 1}, Point(1)), (Point(1), {"a": 1}), (Point(1), Point(2))])
def test_metadata_is_refused_when_a_struct_has_company(message: Any) -> None:
    assert refused(message) == "metadata: expected one Point alone or several dicts, got both"


# Values inside metadata.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, b"1"),
        (1.0, b"1.0"),
        (True, b"true"),
        (None, b"null"),
        (2**53 + 1, b"9007199254740993"),
        (-(2**63) - 1, b"-9223372036854775809"),
        (10**30, b"1" + b"0" * 30),
        ("a\0b", b'"a\\u0000b"'),
        ("häh €", '"häh €"'.encode()),
        ((1, 2), b"[1,2]"),
        ([], b"[]"),
        ({"b": [None]}, b'{"b":[null]}'),
        (Pair(1, 2), b"[1,2]"),
        (Level.HIGH, b"3"),
        (OrderedDict(b=1), b'{"b":1}'),
        (np.float64(1.5), b"1.5"),
        (np.float32(1.5), b"1.5"),
        (np.int8(-3), b"-3"),
        (np.uint64(2**64 - 1), b"18446744073709551615"),
        (np.bool_(True), b"true"),
        (np.str_("text"), b'"text"'),
        ([np.int64(1), [np.float16(0.5)]], b"[1,[0.5]]"),
    ],
    ids=repr,
)
def test_value_is_written_exactly(value: Any, text: bytes) -> None:
    assert metadata_frame({"v": value}) == b'{"v":' + text + b"}"


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63), 2**64, 10**30, 0.1, 1e300, -0.0, "a\0b", "", True, 5e-324])
def test_value_comes_back_with_its_type_and_every_bit(value: Any) -> None:
    back = sent({"v": value}).meta_data["v"]
    assert (type(back), back, math.copysign(1, back) if value == 0 else 1) == (
        type(value),
        value,
        math.copysign(1, value) if value == 0 else 1,
    )


NOT_JSON = [
    (b"x", "cannot send bytes inside metadata"),
    (bytearray(b"x"), "cannot send bytearray inside metadata"),
    ({1}, "cannot send set inside metadata"),
    (frozenset([1]), "cannot send frozenset inside metadata"),
    (1j, "cannot send complex inside metadata"),
    (object(), "cannot send object inside metadata"),
    (int, "cannot send type inside metadata"),
    (np.array([1, 2]), "cannot send ndarray inside metadata"),
    (math.nan, "cannot send nan inside metadata: JSON has no form for it"),
    (math.inf, "cannot send inf inside metadata: JSON has no form for it"),
    (-math.inf, "cannot send -inf inside metadata: JSON has no form for it"),
    (np.float64("nan"), "cannot send nan inside metadata: JSON has no form for it"),
    (np.float32("inf"), "cannot send inf inside metadata: JSON has no form for it"),
    ("\ud800", "cannot send a lone surrogate inside metadata: UTF-8 has no form for it"),
]


@pytest.mark.parametrize(("value", "problem"), NOT_JSON, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(
    ("wrap", "where"),
    [
        (lambda value: {"n": None, "v": value}, "metadata.v"),
        (lambda value: {"s": "null", "v": {"obj": {"x": value}}}, "metadata.v.obj.x"),
        (lambda value: {"v": [0, (None, {"x": value})]}, "metadata.v[1][1].x"),
        (lambda value: OrderedDict(v=value), "metadata.v"),
        (lambda value: ({"a": 1}, {"v": value}), "metadata.v"),
        (lambda value: MsgEnvelope({"v": value}), "metadata.v"),
    ],
    ids=["flat", "nested", "in lists", "of another dict", "merged", "enveloped"],
)
def test_value_is_refused_with_its_path_when_json_has_no_form_for_it(
    wrap: Any, where: str, value: Any, problem: str
) -> None:
    assert refused(wrap(value)) == f"{where}: {problem}"


@pytest.mark.parametrize(
    ("key", "got"),
    [(1, "int 1"), (None, "NoneType None"), (b"k", "bytes b'k'"), (1.5, "float 1.5"), (True, "bool True")],
)
@pytest.mark.parametrize(
    ("wrap", "where"),
    [
        (lambda inner: inner, "metadata"),
        (lambda inner: {"n": None, "obj": [inner]}, "metadata.obj[0]"),
        (Loose, "metadata.x"),
    ],
    ids=["top", "inside", "in a struct"],
)
def test_key_is_refused_when_it_is_no_text(wrap: Any, where: str, key: Any, got: str) -> None:
    assert refused(wrap({key: 1})) == f"{where}: expected keys of type str, got {got}"


def test_key_is_refused_when_utf8_has_no_form_for_it() -> None:
    text = refused({"obj": {"\ud800": 1}})
    assert text.startswith("metadata.obj")
    assert "surrogate" in text


def cycle() -> dict[str, Any]:
    circle: dict[str, Any] = {}
    circle["again"] = [circle]
    return circle


def deep() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(20_000):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize("make", [cycle, deep])
@pytest.mark.parametrize("wrap", [dict, Loose, lambda inner: [inner, b""]], ids=["dict", "struct", "with a blob"])
def test_metadata_is_refused_when_it_is_too_deep_or_contains_itself(make: Any, wrap: Any) -> None:
    assert "nested too deep, or contains itself" in refused(wrap(make()))


def test_metadata_is_refused_when_an_integer_has_more_digits_than_python_prints() -> None:
    assert refused({"a": {"v": 10**5000}}).startswith("metadata.a.v: cannot send")


# Typed messages.


@pytest.mark.parametrize(
    ("value", "where", "problem"),
    [
        (Loose(math.nan), "metadata.x", "cannot send nan inside metadata: JSON has no form for it"),
        (Loose(None, [1, math.inf]), "metadata.y[1]", "cannot send inf inside metadata: JSON has no form for it"),
        (Size(1, math.nan), "metadata.height", "cannot send nan inside metadata: JSON has no form for it"),
        (Loose(Size(1, math.nan)), "metadata.x.height", "cannot send nan inside metadata: JSON has no form for it"),
        (Loose("\ud800"), "metadata.x", "cannot send a lone surrogate inside metadata: UTF-8 has no form for it"),
        (Loose({"k": object()}), "metadata.x.k", "cannot send object inside metadata"),
        (Size(1, [object()]), "metadata.height[0]", "cannot send object inside metadata"),
    ],
    ids=repr,
)
def test_typed_message_is_refused_with_the_path_of_the_value(value: Any, where: str, problem: str) -> None:
    assert refused(value) == f"{where}: {problem}"


@pytest.mark.parametrize("value", [np.float64(1.5), np.float32(1.5), np.int16(3), "null", None], ids=repr)
def test_typed_message_may_hold_numpys_numbers_beside_none(value: Any) -> None:
    assert sent(Loose(value)).meta_data == {"x": value, "y": None}


def test_typed_message_is_refused_when_it_is_an_array_on_the_wire() -> None:
    class Listed(msgspec.Struct, array_like=True):
        x: int | None

    assert refused(Listed(None)) == "metadata: expected an object, got Listed that is an array"


@pytest.mark.parametrize("message", [Point(1, [0.5], "a"), Size(3, {"k": [1]})])
def test_typed_message_comes_back_as_its_type(message: Any) -> None:
    envelope = decoder(type(message))(frames_of((message, b"blob")))
    assert (envelope.meta_data, envelope.blob) == (message, b"blob")


def test_typed_message_without_blob_comes_back_as_its_type() -> None:
    assert decoder(Point)(frames_of(Point(1))).meta_data == Point(1)


@pytest.mark.parametrize(
    ("data", "where", "problem"),
    [
        (b'{"x":"one"}', "metadata.x", "expected int, got str"),
        (b'{"x":1,"path":[0.5,"a"]}', "metadata.path[1]", "expected float, got str"),
        (b"{}", "metadata", "object missing required field x"),
        (b"[]", "metadata", "expected object, got array"),
    ],
)
@pytest.mark.parametrize("blobs", [(), (b"blob",)], ids=["alone", "with a blob"])
def test_received_metadata_is_refused_with_its_path_when_it_does_not_fit(
    blobs: tuple[bytes, ...], data: bytes, where: str, problem: str
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decoder(Point)([NAME, b"\0", bytes([1 + len(blobs)]), data, *blobs])
    assert (caught.value.where, caught.value.problem) == (where, problem)


def test_received_metadata_has_no_path_when_it_is_no_json() -> None:
    with pytest.raises(InvalidMessage, match="expected a JSON object") as caught:
        decoder(Point)([NAME, b"\0", b"\1", b"{"])
    assert caught.value.where == ""


@pytest.mark.parametrize("wanted", [Point, Size, dict[str, int], Point | None])
def test_message_without_metadata_is_refused_when_a_type_is_wanted(wanted: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"metadata: expected .*, got a message without metadata"):
        decoder(wanted)([NAME, b"\1", b"\1", b"blob"])


# What a stranger may send.


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([], "expected a name, a content type, a count and parts, got 0 frames"),
        ([b""], "expected a name, a content type, a count and parts, got 1 frames"),
        ([NAME, b"\0", b"\1"], "expected a name, a content type, a count and parts, got 3 frames"),
        ([NAME, b"\2", b"\1", b"x"], "expected content type 0 or 1, got b'\\x02'"),
        ([NAME, b"", b"\1", b"x"], "expected content type 0 or 1, got b''"),
        ([NAME, b"\0\0", b"\1", b"x"], "expected content type 0 or 1, got b'\\x00\\x00'"),
        ([NAME, b"\0", b"\2", b"{}"], "announced b'\\x02' parts, sent 1"),
        ([NAME, b"\0", b"\1", b"{}", b"x"], "announced b'\\x01' parts, sent 2"),
        ([NAME, b"\0", b"", b"{}"], "announced b'' parts, sent 1"),
        ([NAME, b"\0", b"\1\1", b"{}"], "announced b'\\x01\\x01' parts, sent 1"),
        ([NAME, b"\1", b"\2", b"x", b"y"], "expected one blob without metadata, got 2"),
        ([b"\xff\0", b"\0", b"\1", b"{}"], "expected a name in UTF-8, got b'\\xff\\x00'"),
        ([b"\xff\0", b"\1", b"\1", b"x"], "expected a name in UTF-8, got b'\\xff\\x00'"),
        ([NAME, b"\0", b"\1", b"[]"], "expected object, got array"),
    ],
    ids=range(14),
)
def test_frames_are_refused_when_they_break_a_rule(frames: list[bytes], text: str) -> None:
    assert unreadable(*frames) == text


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"a":1}x', b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000, b"\xef\xbb\xbf{}", b"{a:1}"],
)
@pytest.mark.parametrize("blobs", [(), (b"blob",)], ids=["alone", "with a blob"])
def test_metadata_is_refused_when_it_is_no_json(blobs: tuple[bytes, ...], data: bytes) -> None:
    assert unreadable(NAME, b"\0", bytes([1 + len(blobs)]), data, *blobs).startswith("expected a JSON object: ")


def test_error_stays_short_when_a_stranger_sends_long_frames() -> None:
    long = b"\xff" * 10**6
    texts = [
        unreadable(long, b"\0", b"\1", b"{}"),
        unreadable(NAME, long, b"\1", b"{}"),
        unreadable(NAME, b"\0", long, b"{}"),
    ]
    assert max(map(len, texts)) < 300


def test_good_messages_come_in_order_when_bad_ones_are_between_them() -> None:
    good = [[NAME, b"\0", b"\1", b'{"n":%d}' % number] for number in range(3)]
    bad = [[NAME, b"\0", b"\1", b"{"], [b"\xff", b"\0", b"\1", b"{}"], [NAME, b"\0", b"\2", b"{}"]]
    taken: list[MsgEnvelope[Any]] = []
    messages = [frames for pair in zip(good, bad, strict=True) for frames in pair]
    problems = list(Decoder().each(messages, taken.append))
    assert ([envelope[0]["n"] for envelope in taken], len(problems)) == ([0, 1, 2], 3)


_headers = st.sampled_from((b"\0", b"\1", b"\2", b"\3", b"", NAME, b"\0\0"))
_documents = st.sampled_from(
    (b"{}", b'{"a":[1,{"b":null}]}', b"[]", b"null", b'{"x":"1"}', b'{"x":1e999}', b'{"\\ud800":1}')
)
_hostile = st.lists(_headers | _documents | st.binary(max_size=40), max_size=7)
_nearly_sound = st.tuples(
    st.just(NAME) | st.binary(max_size=9), _headers, _headers, _documents | st.binary(max_size=40)
)


@settings(max_examples=10_000)
@given(_hostile | _nearly_sound)
def test_any_frames_at_all_decode_or_are_refused(frames: list[bytes]) -> None:
    for read in (decode, read_point):
        try:
            envelope = read(frames)
        except InvalidMessage as error:
            assert str(error)  # noqa: PT017  # either outcome is fine; the text must exist in this one
        else:
            assert (type(envelope.name), len(envelope.views)) == (str, len(frames) - (3 if frames[1] == b"\1" else 4))


_text = st.text(st.characters(codec="utf-8"), max_size=12)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=15,
)
_metadata = st.dictionaries(_text, _json, max_size=5)
_blobs = st.lists(st.binary(max_size=30), max_size=5)


@given(_text.filter(lambda name: "\0" not in name), _metadata, _blobs)
def test_generated_message_comes_back_as_it_was(name: str, metadata: dict[str, Any], blobs: list[bytes]) -> None:
    envelope = decode([bytes(frame) for frame in encode(encode_name(name), (metadata, *blobs))])
    assert (envelope.name, envelope.meta_data, [bytes(view) for view in envelope.views]) == (name, metadata, blobs)


_anything = st.recursive(
    _json | st.floats() | st.binary(max_size=3) | st.text(max_size=3) | st.just({1}) | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3) | st.integers(), _anything, max_size=4) | st.lists(_anything) | _anything)
def test_any_message_at_all_comes_back_as_it_was_or_is_refused(message: Any) -> None:
    try:
        frames = frames_of(message)
    except InvalidMessage:
        return
    envelope = decode(frames)
    if type(message) is dict:
        assert envelope.meta_data == message


@pytest.mark.parametrize("decode_it", [Decoder.__call__, lambda decode, frames: next(decode.each([frames], print))])
def test_problem_of_a_strangers_metadata_is_one_short_line(decode_it: Callable[[Any, Any], object]) -> None:
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        n: int = 0

    key = "\x1b[2J\n\u202eroot was let in" + "x" * 1000
    try:
        error = decode_it(Decoder(Strict), [NAME, b"\0", b"\1", json.dumps({key: 1}).encode()])
    except InvalidMessage as raised:
        error = raised
    assert str(error).startswith(r"metadata: object contains unknown field \x1b[2J\n\u202eroot was let in")
    assert len(str(error)) < 300
