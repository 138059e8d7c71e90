from typing import Any

import pytest
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.wrappers_pb2 import BytesValue

from eis.msgbus.recording.blobs import described, unwrap, wrap

FRAME = {"width": 16, "height": 10, "channels": 3}
NOW = 1_700_000_000_123_456_789


@pytest.mark.parametrize(("channels", "encoding"), [(1, "mono8"), (3, "bgr8"), (4, "bgra8")])
def test_a_frame_is_a_raw_image_when_its_metadata_describe_it(channels: int, encoding: str) -> None:
    frame = bytes(range(160)) * channels
    kind, data = wrap(memoryview(frame), FRAME | {"channels": channels}, NOW)
    image = RawImage.FromString(data)
    assert kind is RawImage
    assert (image.width, image.height, image.step, image.encoding) == (16, 10, 16 * channels, encoding)
    assert image.timestamp.ToNanoseconds() == NOW
    assert image.data == frame


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_a_frame_is_a_compressed_image_when_its_metadata_name_the_encoding(encoding: str) -> None:
    kind, data = wrap(memoryview(b"image"), FRAME | {"encoding_type": encoding}, NOW)
    image = CompressedImage.FromString(data)
    assert kind is CompressedImage
    assert (image.format, image.data, image.timestamp.ToNanoseconds()) == (encoding, b"image", NOW)


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"width": 16, "height": 10},
        FRAME | {"height": 11},
        FRAME | {"channels": 2, "height": 15},
        FRAME | {"width": "16"},
        FRAME | {"width": True, "height": 160},
        FRAME | {"width": -16, "height": -10},
        FRAME | {"width": 2**32, "height": 10},
        FRAME | {"encoding_type": ["jpeg"], "width": 1},
    ],
)
def test_a_blob_is_bytes_when_no_image_is_described(description: dict[str, Any]) -> None:
    frame = bytes(480)
    kind, data = wrap(memoryview(frame), description, NOW)
    assert kind is BytesValue
    assert BytesValue.FromString(data).value == frame


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
@pytest.mark.parametrize("description", [{}, {"encoding_type": "jpeg"}])
def test_a_blob_comes_back_as_it_was_when_it_is_of_any_length(length: int, description: dict[str, Any]) -> None:
    blob = bytes(index % 251 for index in range(length))
    assert unwrap(*wrap(memoryview(blob), description, NOW)) == blob


def test_each_blob_has_its_own_description_when_there_are_several() -> None:
    other = {"width": 1}
    meta_data = FRAME | {"additional_frames": [other, "no dict"]}
    assert [described(meta_data, index) for index in range(4)] == [meta_data, other, {}, {}]


@pytest.mark.parametrize("meta_data", [None, {}, {"additional_frames": {"0": {}}}])
def test_a_blob_has_no_description_when_the_metadata_have_none(meta_data: Any) -> None:
    assert described(meta_data, 1) == {}
