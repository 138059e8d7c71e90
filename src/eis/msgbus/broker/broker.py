"""A broker that runs: streams, services, or both, until it is closed or one of them fails. Does not know how."""

from __future__ import annotations

import contextlib
import logging
import threading
from types import TracebackType

from eis.msgbus._waiting import Deadline
from eis.msgbus.broker.scheduling import schedule
from eis.msgbus.broker.services import BrokeredService
from eis.msgbus.broker.settings import Settings
from eis.msgbus.broker.stats import BrokerStats
from eis.msgbus.broker.streams import Streams
from eis.msgbus.exceptions import MessageBusError

__all__ = ["Broker"]

_LOOK = 0.5  # seconds; on Windows, Ctrl-C does not end a wait, but is noticed after it

_log = logging.getLogger("eis.msgbus.broker")


class Broker:
    """Carry messages, and requests and their replies, until it is closed; `counting` has each message counted.

    Raises:
        InvalidConfig: the settings are wrong; `where` begins with the side or the service.
        AddressInUse, MessageBusError: a side or service cannot listen.
    """

    def __init__(self, settings: Settings, *, counting: bool = False) -> None:
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._end = contextlib.ExitStack()
        self.streams: Streams | None = None
        self.services: tuple[BrokeredService, ...] = ()
        try:
            self._open(settings, counting=counting)
        except BaseException:
            self._end.close()
            raise

    def _open(self, settings: Settings, *, counting: bool) -> None:
        self._end.callback(schedule(settings.policy, settings.priority))
        self._end.callback(self._ended.set)
        if settings.frontend is not None and settings.backend is not None:
            self.streams = Streams(settings.frontend, settings.backend, self._fail, counting=counting)
            self._end.callback(self.streams.close)
        for each in settings.services:
            service = BrokeredService(each, self._fail)
            self._end.callback(service.close)
            self.services = (*self.services, service)

    def _fail(self, error: Exception) -> None:
        self._failure = error
        _log.critical("the broker has ended: %s", error)
        self._ended.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the broker has ended; tell whether it has.

        Raises:
            MessageBusError: it ended by itself.
        """
        deadline = Deadline(seconds)
        ended = False
        while not ended and (left := deadline.left()) != 0:
            ended = self._ended.wait(_LOOK if left is None else min(left, _LOOK))
        if self._failure is not None:
            raise MessageBusError(f"the broker has ended: {self._failure}") from self._failure
        return ended or self._ended.is_set()

    @property
    def stats(self) -> BrokerStats:
        """Return what was counted so far."""
        services = {service.name: service.stats for service in self.services}
        if self.streams is None:
            return BrokerStats(services=services)
        front, back = self.streams.frontend, self.streams.backend
        refused = front.refused + back.refused
        topics, last_values = self.streams.topics(), self.streams.last_values()
        return BrokerStats(topics, front.clients, back.clients, refused, services, last_values)

    def close(self) -> None:
        """End, deliver what was taken within 2 seconds, and free all addresses."""
        self._end.close()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
