"""1080p frames through the bus: a NumPy array goes out, an array over the received bytes comes in."""

import argparse

import numpy as np
import numpy.typing as npt

import eis.msgbus as mb

Frame = npt.NDArray[np.uint8]


def publish(publisher: mb.Publisher, number: int) -> Frame:
    """Make a frame and publish it: the array is sent as it is, so nobody may write into it afterwards."""
    frame = np.full((1080, 1920, 3), number % 256, dtype=np.uint8)
    height, width, channels = frame.shape
    publisher.publish(
        ({"frame_number": number, "height": height, "width": width, "channels": channels}, frame),
    )
    return frame


def to_frame(envelope: mb.MsgEnvelope[dict[str, int]]) -> Frame:
    """Return the received frame without a copy; it is read-only."""
    meta_data = envelope.meta_data
    assert envelope.view is not None
    shape = meta_data["height"], meta_data["width"], meta_data["channels"]
    return np.frombuffer(envelope.view, dtype=np.uint8).reshape(shape)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("config", help="JSON or TOML file with the configuration of the bus")
parser.add_argument("--count", type=int, default=5, help="number of frames (default: %(default)s)")
args = parser.parse_args()

with mb.MsgbusContext(args.config) as bus:
    publisher, subscriber = bus.new_publisher("publish_test"), bus.new_subscriber("publish_test")
    publisher.wait_for_subscribers(timeout=10_000)
    for number in range(args.count):
        sent = publish(publisher, number)
        received = to_frame(subscriber.recv(timeout=10_000))
        print(f"frame {number}: {received.shape}, equal: {np.array_equal(sent, received)}", flush=True)
