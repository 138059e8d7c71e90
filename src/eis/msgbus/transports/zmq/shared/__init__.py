"""Frames in shared memory, between programs on one Linux. Does not know topics, nor how a descriptor travels.

A publisher puts the blobs of a message into a slot of its pool and sends a descriptor instead of them. A subscriber
fetches the memory once, from a Unix socket beside the socket file, and leases the slots that descriptors name: the
kernel keeps the books, by locks that end with the process. Nobody but the publisher can write to the memory, and
nobody waits for anybody: a frame that was overtaken is lost, and a pool without a free slot says so.
"""

import sys

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

from eis.msgbus.transports.zmq.shared.fetcher import Fetcher
from eis.msgbus.transports.zmq.shared.hand_out import NONCE_BYTES, HandOut, hand_out_path
from eis.msgbus.transports.zmq.shared.lease import Lease
from eis.msgbus.transports.zmq.shared.pool import Loan, Pool

__all__ = ["NONCE_BYTES", "Fetcher", "HandOut", "Lease", "Loan", "Pool", "hand_out_path"]
