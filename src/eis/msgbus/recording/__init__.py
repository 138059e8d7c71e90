"""Messages of the bus into an MCAP file, and out of it again as they were. Knows the bus by its public API only.

What a recording looks like in Foxglove, and in any other program that reads MCAP, stands in
docs/howto/record-and-replay.md. It needs the extra `record`.
"""

from eis.msgbus.recording.reader import Recording
from eis.msgbus.recording.recorder import Figures, Recorder
from eis.msgbus.recording.recordings import Recordings
from eis.msgbus.recording.replay import Replay
from eis.msgbus.recording.series import Split
from eis.msgbus.recording.writer import Compression

__all__ = ["Compression", "Figures", "Recorder", "Recording", "Recordings", "Replay", "Split"]
