"""Envelopes to frames and back. No sockets, no clocks, no configuration, no transports.

A message is `name NUL`, the content type, the number of parts, and the parts: the metadata as a JSON object and the
blobs, or one blob alone. These are the frames of the original EIS/EII message bus, so that its programs in C, C++, Go
and Python understand ours and we theirs.
"""

from eis.msgbus._wire.decode import Decoder, decode
from eis.msgbus._wire.encode import encode, encode_name
from eis.msgbus._wire.frames import Frames
from eis.msgbus._wire.native import Stamped

__all__ = ["Decoder", "Frames", "Stamped", "decode", "encode", "encode_name"]
