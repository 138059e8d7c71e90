"""The frames of the demo, recorded while it plays and read by the library of MCAP, are what was drawn."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

from eis.msgbus.tools.demo.messages import FRAMES
from eis.msgbus.tools.demo.scene import read_counter
from tests.meeting import until
from tests.tools.demo.test_demo import demo
from tests.tools.process import msgbus

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform == "win32", reason="the frames of the demo go over zmq_ipc"),
]

COUNT = 10


def test_frames_of_the_demo_are_decoded_by_the_reader_of_mcap(tmp_path: Path, socket_dir: Path) -> None:
    with demo(socket_dir, tmp_path / "output") as playing:
        until(lambda: [*socket_dir.glob(f"msgbus-demo-*/{FRAMES}")])
        (address,) = socket_dir.glob(f"msgbus-demo-*/{FRAMES}")
        recording = ("record", "-o", "demo.mcap", FRAMES, "-a", f"ipc://{address}", "-n", str(COUNT), "-q", "--json")
        status, out, err = msgbus(tmp_path, *recording)
        playing.process.terminate()
        playing.result()
    assert (status, err, json.loads(out)["messages"]) == (0, "", COUNT)
    with (tmp_path / "demo.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        numbers = [json.loads(each[2].data)["frame_number"] for each in reader.iter_messages(topics=[FRAMES])]
        images = [each.decoded_message for each in reader.iter_decoded_messages(topics=[f"{FRAMES}/image"])]
    assert numbers == list(range(numbers[0], numbers[0] + COUNT))
    for number, image in zip(numbers, images, strict=True):
        assert (image.width, image.height, image.encoding) == (1920, 1080, "bgr8")
        pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        assert read_counter(pixels) == number  # it is drawn into the frame
