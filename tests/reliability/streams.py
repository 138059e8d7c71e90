"""Numbered messages that flow all the time while something else happens, and who takes them."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import eis.msgbus as mb
from eis.msgbus._channel import Closed
from tests.reliability.history import History, numbered
from tests.reliability.proxy import Proxy
from tests.transports.zmq.helpers import Sides, running

__all__ = ["Make", "flowing", "proxied", "taking"]

Make = Callable[[str], Sides]


@contextmanager
def taking(subscriber: mb.Subscriber[Any], history: History) -> Iterator[None]:
    """Take all messages in a thread, until the subscriber is closed."""

    def take() -> None:
        with contextlib.suppress(Closed):
            while True:
                with contextlib.suppress(mb.MessageBusAuthenticationFailed):  # it goes on trying
                    history.take(subscriber.recv())

    with running(take):
        try:
            yield
        finally:
            subscriber.close()


@contextmanager
def flowing(publisher: mb.Publisher) -> Iterator[None]:
    """Publish numbered messages all the time."""
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.wait(0.001):
            publisher.publish(numbered(1, number))
            number += 1

    with running(publish):
        try:
            yield
        finally:
            stop.set()


def proxied(sides: Sides, proxy: Callable[[int], Proxy]) -> tuple[Proxy, dict[str, Any]]:
    """Return a proxy to the publisher, and the configuration of a client that goes through it."""
    between = proxy(sides.server["zmq_tcp_publish"]["port"])
    return between, {**sides.client, "camera1": {**sides.client["camera1"], "port": between.port}}
