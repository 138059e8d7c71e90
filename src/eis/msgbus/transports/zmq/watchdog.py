"""Whether the access control of a context answers; while it does not, nothing that it guards is served.

Does not know who is on which list.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Set
from typing import TYPE_CHECKING

import zmq

from eis.msgbus.transports.zmq.access import AccessControl

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.supervised import Supervised

__all__ = ["Watchdog"]

_log = logging.getLogger("eis.msgbus.access")

EVERY = 0.4  # seconds between two looks
WHILE_SILENT = 0.1
MISSED = 3  # looks in a row without an answer; looks and not seconds, so that a process that was stopped is not blamed
LOST = 5  # looks after these, while a question may still be answered; then it is asked anew

_REFUSAL = [b"", b"1.0", b"watchdog", b"400"]
_SILENT = "access control does not answer, so nobody is let in until it does"


class Watchdog:
    """Ask the access control about a stranger now and then; while it does not refuse, stop every guarded link.

    For the supervisor's thread only. `links` are those of the context; some of them are guarded.
    """

    def __init__(self, access: AccessControl, links: Set[Supervised]) -> None:
        self._access = access
        self._links = links
        self._due: float | None = None
        self._question: zmq.Socket[bytes] | None = None
        self._missed = 0
        self._silent = False

    @property
    def next(self) -> float | None:
        """Return when `act_if_due` has something to do; None while nothing is guarded."""
        return self._due

    def act_if_due(self) -> None:
        """Look when it is time; stop and resume what is guarded. Whatever goes wrong, the thread goes on."""
        try:
            self._act()
        except Exception:  # noqa: BLE001  # it is logged, and tried again in a moment
            self._due = time.monotonic() + WHILE_SILENT
            _log.exception("cannot watch the access control")

    def _act(self) -> None:
        guarded = [link for link in tuple(self._links) if link.plan.bind and link.door is not None]
        if not guarded:
            self.close()
        elif self._due is None or time.monotonic() >= self._due:
            self._look(guarded)
            self._due = time.monotonic() + (WHILE_SILENT if self._silent else EVERY)
        for link in guarded:
            if self._silent:
                link.stop(_SILENT)
            else:
                link.resume()

    def _look(self, guarded: list[Supervised]) -> None:
        reply = None if self._question is None else _reply(self._question)
        if reply == _REFUSAL:
            self._missed = 0
            self._resume(guarded)
        elif self._question is not None:
            self._missed += 1 if reply is None else MISSED
        if not self._access.alive or self._missed >= MISSED:
            self._stop(guarded)
        if self._missed >= MISSED + LOST:
            self._hang_up()
        if self._question is None or reply is not None:
            self._ask()

    def _ask(self) -> None:
        if self._question is None:
            self._question = self._access.asker()
        self._question.send_multipart([b"", b"1.0", b"watchdog", b"", b"", b"", b"NULL"], zmq.NOBLOCK)

    def _stop(self, guarded: list[Supervised]) -> None:
        for link in guarded:
            link.stop(_SILENT)
        if not self._access.alive:
            self._hang_up()
            self._access.restart()
        if not self._silent:
            self._silent = True
            _log.critical("access control does not answer: %s stopped", ", ".join(_places(guarded)))

    def _resume(self, guarded: list[Supervised]) -> None:
        if self._silent:
            self._silent = False
            _log.warning("access control answers again: %s listens again", ", ".join(_places(guarded)))

    def _hang_up(self) -> None:
        self._missed = 0
        if self._question is not None:
            self._question.close()
            self._question = None

    def close(self) -> None:
        """Ask no more."""
        self._due, self._silent = None, False
        self._hang_up()


def _reply(question: zmq.Socket[bytes]) -> list[bytes] | None:
    """Return what the access control says of the stranger; None: nothing."""
    with contextlib.suppress(zmq.Again):
        return question.recv_multipart(zmq.NOBLOCK)[:4]
    return None


def _places(links: list[Supervised]) -> list[str]:
    return [link.plan.address for link in links]
