"""One thread per context that looks after its links: what happens to them, what is due. Does not know what it means.

libzmq reports what happens to a socket's connections through a second socket. If nobody reads it, libzmq's I/O thread
blocks; so one thread per context reads them all, whatever the program does.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import zmq

from eis.msgbus._waiting import Wakeup
from eis.msgbus.transports.zmq.monitor import read_event
from eis.msgbus.transports.zmq.watch import Watch
from eis.msgbus.transports.zmq.watchdog import Watchdog

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.plan import Plan
    from eis.msgbus.transports.zmq.supervised import Supervised

__all__ = ["Supervisor"]

_PATIENCE = 4.0  # seconds; more than a closed link lingers


class Supervisor:
    """Read the events of all links of one context in one thread, which begins with the first link."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._lock = threading.RLock()
        self._news = Wakeup()
        self._added: deque[tuple[zmq.Socket[bytes], Watch]] = deque()
        self._reloads: deque[tuple[Supervised, Plan]] = deque()
        self._watches: dict[zmq.Socket[bytes], Watch] = {}
        self._unsettled: dict[int, Callable[[], bool]] = {}  # by the descriptor of the link
        self._thread: threading.Thread | None = None
        self._closing = False

    def watch(self, events: zmq.Socket[bytes], watch: Watch) -> None:
        """Read the link's events from now on, until its socket says that there will be no more."""
        with self._lock:
            self._added.append((events, watch))
            self._news.set()
            if self._thread is None or not self._thread.is_alive():  # Ctrl-C may have come between the two lines
                self._thread = threading.Thread(target=self._run, name="msgbus-supervisor", daemon=True)
                self._thread.start()

    def reload(self, link: Supervised, plan: Plan) -> None:
        """Have the link go on with other keys and another list, soon, in the thread that watches it."""
        with self._lock:
            self._reloads.append((link, plan))
            self._news.set()

    def close(self) -> None:
        """End the thread, after all links were closed and have delivered what they had.

        Not before: libzmq would wait for ever for somebody to read the next event.
        """
        with self._lock:
            self._closing = True
            self._news.set()
            if self._thread is not None and self._thread.is_alive() and not self.is_this_thread():
                self._thread.join(_PATIENCE)
            self._news.close()

    def is_this_thread(self) -> bool:
        """Tell whether the caller runs in the supervisor's thread: the garbage collector may close a link there."""
        return self._thread is threading.current_thread()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._news.fileno(), zmq.POLLIN)
        while not self._closing or self._watches or self._added:
            for ready, _ in poller.poll(self._patience()):
                self._take(poller, ready)
            for watch in self._watches.values():
                watch.act_if_due()
            self._watchdog.act_if_due()
        self._watchdog.close()

    def _patience(self) -> int | None:
        """Return the milliseconds until some link is due, None if none is."""
        times = (self._watchdog.next, *(watch.next for watch in self._watches.values()))
        due = [each for each in times if each is not None]
        return math.ceil(max(0.0, min(due) - time.monotonic()) * 1000) if due else None

    def _take(self, poller: zmq.Poller, ready: zmq.Socket[bytes] | int) -> None:
        if isinstance(ready, zmq.Socket):
            self._read(poller, ready)
        elif ready in self._unsettled:
            self._settle(poller, ready)
        else:
            self._begin(poller)

    def _settle(self, poller: zmq.Poller, descriptor: int) -> None:
        if self._unsettled[descriptor]():
            poller.unregister(descriptor)
            del self._unsettled[descriptor]

    def _begin(self, poller: zmq.Poller) -> None:
        self._news.clear()
        while self._added:
            events, watch = self._added.popleft()
            self._watches[events] = watch
            poller.register(events, zmq.POLLIN)
            watch.link.begin()
            if watch.link.owner.settle is not None:
                self._unsettled[watch.link.fd] = watch.link.owner.settle
                poller.register(watch.link.fd, zmq.POLLIN)
        while self._reloads:
            link, plan = self._reloads.popleft()
            for watch in self._watches.values():
                if watch.link is link and plan != link.plan:
                    watch.reload(plan)

    def _read(self, poller: zmq.Poller, events: zmq.Socket[bytes]) -> None:
        event = read_event(events)
        if event.kind != zmq.EVENT_MONITOR_STOPPED:
            self._watches[events].take(*event)
            return
        poller.unregister(events)
        del self._watches[events]
        events.close()
