"""The only waiting there is, and the only clock. Does not know what it waits for, nor who sends it.

`wait()` (for blocking programs) and `loops.Watch.wait_async()` (for asyncio) drive any channel: they try, and try again
whenever one of the channel's descriptors is readable, until there is a result or time is over. A program that does not
use asyncio does not load it: that would take 30 ms and 5 MB.
"""

from eis.msgbus._waiting.blocking import Deadline, Spinning, Stirring, Wakeup, poll, poller, wait

__all__ = ["Deadline", "Spinning", "Stirring", "Wakeup", "poll", "poller", "wait"]
