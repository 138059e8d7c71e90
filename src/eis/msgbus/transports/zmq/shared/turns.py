"""In which order a publisher uses its slots. Does not know whether somebody reads one: it only says what is best.

First what everybody has read, the last one first: the caches of the processors still have it. Then what was never used.
Then what was published longest ago, so that what is still on its way to a subscriber is overtaken last.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator

assert sys.platform == "linux"  # for mypy; nothing imports this elsewhere

__all__ = ["Turns"]


class Turns:
    """Know which of `count` slots are best used next; for one thread at a time.

    `over` is where slots are put, by any thread, that were taken and are let go of.
    """

    def __init__(self, count: int) -> None:
        self.over: deque[int] = deque()
        self._unused = list(reversed(range(count)))
        self._free: list[int] = []  # nobody waits for them; the last one was read last
        self._sent: dict[int, set[Hashable]] = {}  # oldest first, and who has not said that it has read it
        self._taken: set[int] = set()

    def sent(self, slot: int, readers: Collection[Hashable]) -> None:
        """Take notice that what lies in a slot is on its way to these readers; empty: to nobody knows whom."""
        self._sent[slot] = set(readers)

    def read(self, slot: int, reader: Hashable) -> None:
        """Take notice that a reader has read what lies in a slot."""
        waiting = self._sent.get(slot)
        if waiting and reader in waiting:
            waiting.remove(reader)
            if not waiting:
                self._let_go(slot)

    def gone(self, reader: Hashable) -> None:
        """Take notice that a reader reads no more."""
        for slot in tuple(self._sent):
            self.read(slot, reader)

    def _let_go(self, slot: int) -> None:
        del self._sent[slot]
        if slot not in self._taken:
            self._free.append(slot)

    @property
    def spare(self) -> bool:
        """Tell whether there is a slot that nobody waits for."""
        return bool(self._free or self._unused)

    def candidates(self, hear: Callable[[], object]) -> Iterator[int]:
        """Yield slots in the order in which they are best used; `hear` asks the readers, and is seldom called."""
        if not self._free:
            hear()
        while self.over:
            slot = self.over.popleft()
            self._taken.discard(slot)
            if slot not in self._sent:
                self._free.append(slot)
        yield from reversed(tuple(self._free))
        yield from reversed(tuple(self._unused))
        yield from (slot for slot in tuple(self._sent) if slot not in self._taken)

    def take(self, slot: int) -> None:
        """Take one of the candidates."""
        for slots in (self._free, self._unused):
            if slot in slots:
                slots.remove(slot)
        self._sent.pop(slot, None)
        self._taken.add(slot)
