"""Requests to one name, shared by several services that have it. Does not know what a request means.

The broker is the service for who asks, and a requester at each real service. Whoever of these is idle and connected
takes the next request, so the load shares itself, and a service that is gone takes none. A request is given to one
service, once: if that dies before it has answered, nobody knows what it did, and only who asked may ask again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from eis.msgbus._config import Config
from eis.msgbus._waiting import Deadline, wait
from eis.msgbus.broker.asking import Asking
from eis.msgbus.broker.settings import Service
from eis.msgbus.broker.stats import ServiceStats
from eis.msgbus.broker.values import located
from eis.msgbus.broker.waiting import Waiting
from eis.msgbus.exceptions import InvalidConfig, MessageBusError
from eis.msgbus.transports.zmq import IpcTransport, TcpTransport
from eis.msgbus.transports.zmq.reading import is_whole
from eis.msgbus.transports.zmq.service import ServiceChannel

__all__ = ["BrokeredService"]

_FINISH = 2.0  # seconds in which services may still answer at the end
_LOOK = 0.5  # seconds, after which what failed is tried again

Transport = IpcTransport | TcpTransport


class BrokeredService:
    """Be a service whose requests others answer. `failed` is told what ended it by itself.

    Raises:
        InvalidConfig: a side is wrong; `where` begins with `services`, the name and the side.
        AddressInUse, MessageBusError: the frontend cannot listen.
    """

    def __init__(self, settings: Service, failed: Callable[[Exception], object]) -> None:
        self.name = settings.name
        self._failed = failed
        self._hurry = threading.Event()
        self._threads: list[threading.Thread] = []
        self._end = contextlib.ExitStack()
        try:
            self._open(settings)
        except BaseException:
            self._end.close()
            raise

    def _open(self, settings: Service) -> None:
        seconds = settings.timeout / 1000
        sides = [_opened(where, config) for where, config in settings.sides()]
        for transport in sides:
            self._end.callback(transport.close)
        queue_bytes = Config(settings.frontend).queue_bytes
        self._waiting = Waiting(settings.queue, queue_bytes, seconds)
        self._backends = tuple(
            self._backend(where, transport, seconds)
            for (where, _), transport in zip(settings.sides()[1:], sides[1:], strict=True)
        )
        with located(settings.sides()[0][0]):
            channel = sides[0].service(settings.name)
        assert isinstance(channel, ServiceChannel)
        self._channel = channel
        self.address = self._channel.plan.address
        self._check_no_circle(settings)
        self._end.callback(self._stop)
        for run in (self._take_in, *(each.run for each in self._backends)):
            self._start(run)

    def _backend(self, where: str, transport: Transport, seconds: float) -> Asking:
        with located(where):
            return Asking(lambda: transport.requester(self.name), self._waiting, self._answer, seconds, self._hurry)

    def _check_no_circle(self, settings: Service) -> None:
        for (where, _), backend in zip(settings.sides()[1:], self._backends, strict=True):
            if backend.address == self.address:
                raise InvalidConfig("expected the address of a service, got that of the broker's own frontend", where)

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guarded, args=(run,), name="msgbus-broker-service", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001  # it is told where the broker is waited for
            self._waiting.end()
            self._channel.close()  # who asks notices, and another may listen there
            self._failed(error)

    def _take_in(self) -> None:
        """Let each request wait that has the form of one, as long as there is room."""
        while not self._waiting.ended:
            try:
                request = wait(self._channel, self._next, None)
            except MessageBusError:  # access control is dead and nobody gets in, or the broker ends
                self._hurry.wait(_LOOK)
                continue
            if request:
                self._put(*request)

    def _next(self) -> Any:
        return () if self._waiting.ended else self._channel.receive()

    def _put(self, frames: Any, way_back: Any) -> None:
        if is_whole(frames):
            self._waiting.put(frames, way_back)
        else:
            self._waiting.turn_away()

    def _answer(self, frames: Any, way_back: Any) -> bool:
        """Send a reply to who asked; False: that is gone, or its queue is full."""
        return self._channel.send(frames, way_back)

    @property
    def stats(self) -> ServiceStats:
        """Return what was counted so far."""
        backends = tuple(each.stats for each in self._backends)
        return ServiceStats(**self._waiting.counted(), backends=backends)

    def close(self) -> None:
        """End: what waits is given to nobody, what a service has may be answered within 2 seconds."""
        self._end.close()

    def _stop(self) -> None:
        self._waiting.end()
        self._channel.wake()
        deadline = Deadline(_FINISH)
        for thread in self._threads:
            thread.join(deadline.left())
        self._hurry.set()
        for backend in self._backends:
            backend.wake()
        for thread in self._threads:
            thread.join()


def _opened(where: str, config: Mapping[str, Any]) -> Transport:
    with located(where):
        return TcpTransport(config) if config["type"] == "zmq_tcp" else IpcTransport(config)
