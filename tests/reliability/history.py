"""What one subscriber received, held against what publishers promise: in order, never twice, no lost epoch back again.

An epoch is one life of a publisher; it numbers its messages from 0. Each message carries what can be known from its
number, so that a changed byte is noticed.
"""

import dataclasses
import hashlib
from typing import Any

import eis.msgbus as mb

__all__ = ["History", "numbered"]


def numbered(epoch: int, number: int) -> tuple[dict[str, int], bytes]:
    """Return the message of that number."""
    return {"epoch": epoch, "n": number}, hashlib.sha256(b"%d %d" % (epoch, number)).digest()


@dataclasses.dataclass
class History:
    """Look at one message after another.

    `lost` counts the gaps inside of epochs, `late` what was published before the subscriber was there, `epoch` and
    `last` are those of the last message; `problems` are broken promises.
    """

    received: int = 0
    lost: int = 0
    late: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)
    last: int = -1
    epoch: int = -1
    _over: set[int] = dataclasses.field(default_factory=set)

    @property
    def epochs(self) -> int:
        """Return how many epochs were seen."""
        return len(self._over) + (self.received > 0)

    def take(self, envelope: mb.MsgEnvelope[Any]) -> tuple[int, int]:
        """Look at a message; return its epoch and number."""
        epoch, number = envelope.meta_data["epoch"], envelope.meta_data["n"]
        metadata, blob = numbered(epoch, number)
        if not envelope.views or envelope.views[0] != blob or metadata.items() - envelope.meta_data.items():
            self.problems.append(f"message {number} of epoch {epoch} was changed")
        self._place(epoch, number)
        self.received += 1
        return epoch, number

    def _place(self, epoch: int, number: int) -> None:
        if epoch in self._over:
            self.problems.append(f"message {number} of epoch {epoch} came after the epoch {self.epoch}")
        elif epoch != self.epoch:
            if self.received:
                self._over.add(self.epoch)
            self.epoch, self.last = epoch, number
            self.late += number  # published before the subscriber was there
        elif number <= self.last:
            self.problems.append(f"message {number} of epoch {epoch} came after {self.last}")
        else:
            self.lost += number - self.last - 1
            self.last = number
