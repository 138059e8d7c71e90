"""What names a frame: bytes there and back."""

import pytest

from eis.msgbus.exceptions import InvalidMessage
from eis.msgbus.transports.zmq.shared.descriptor import Descriptor, layout, pack, unpack


@pytest.mark.parametrize("sizes", [(0,), (6_220_800,), (1, 2**40, 3), (7,) * 255])
def test_descriptor_comes_back_as_it_was_packed(sizes: tuple[int, ...]) -> None:
    asked = Descriptor(2**64 - 1, 2**32 - 1, 5, 2**63, sizes)
    assert unpack(pack(*asked)) == asked
    assert unpack(memoryview(pack(*asked))) == asked


@pytest.mark.parametrize("length", [0, 8, 23, 24, 25, 31, 33, 24 + 256 * 8])
def test_descriptor_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidMessage, match=f"expected a frame's descriptor, of 1 to 255 blobs, got {length} bytes"):
        unpack(bytes(length))


def test_blobs_lie_one_after_the_other_at_multiples_of_64() -> None:
    places = (slice(0, 1), slice(64, 64), slice(64, 128), slice(128, 193), slice(256, 259))
    assert layout((1, 0, 64, 65, 3)) == (320, places)
