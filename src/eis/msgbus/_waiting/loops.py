"""Waiting as tasks of asyncio do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from eis.msgbus._waiting.blocking import Stirring
from eis.msgbus.exceptions import MessageBusError

__all__ = ["Watch", "give_way"]

T = TypeVar("T")


class Watch:
    """Watch the descriptors of a channel in an asyncio loop, for any number of tasks."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._watched: set[int] = set()

    async def wait_async(self, channel: Stirring, attempt: Callable[[], T | None]) -> T:
        """Do as `wait`, in the running loop; asyncio has its own time limits.

        Cancelling it loses nothing: a result is taken after the wait.

        Raises:
            MessageBusError: the loop cannot watch descriptors (the proactor loop of Windows).
        """
        while (result := attempt()) is None:
            await self._readable(channel.filenos())
        return result

    async def _readable(self, filenos: Sequence[int]) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        self._waiting.add(ready)
        try:
            for fileno in filenos:
                self._add(loop, fileno)
            await ready
        finally:
            self._waiting.discard(ready)
            if not self._waiting:
                while self._watched:
                    loop.remove_reader(self._watched.pop())

    def _add(self, loop: asyncio.AbstractEventLoop, fileno: int) -> None:
        if fileno in self._watched:
            loop.remove_reader(fileno)  # it may be another descriptor by now, under the same number
        try:
            loop.add_reader(fileno, self._wake)
        except NotImplementedError:
            problem = "this event loop cannot watch sockets; run it with asyncio.WindowsSelectorEventLoopPolicy"
            raise MessageBusError(problem) from None
        self._watched.add(fileno)

    def _wake(self) -> None:
        for ready in self._waiting:
            _settle(ready)


async def give_way() -> None:
    """Let the other tasks of the loop run."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.call_soon(_settle, ready)
    await ready


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
