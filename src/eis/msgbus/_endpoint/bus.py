"""A bus and its endpoints: how they are opened, counted and closed. Does not know what they do."""

from __future__ import annotations

import dataclasses
import functools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, cast

from eis.msgbus._channel import Closed, Counts, Waitable, at_the_end
from eis.msgbus._config import Source, load
from eis.msgbus._endpoint.events import Events
from eis.msgbus._endpoint.process import Inherited, closing, opened
from eis.msgbus._status import Listener, LiveStatus, Status
from eis.msgbus.exceptions import InvalidConfig, MessageBusError
from eis.msgbus.transports import Transport, open_transport

__all__ = ["Bus", "Endpoint", "Stats"]


@dataclasses.dataclass(frozen=True, slots=True)
class Stats:
    """Count what one endpoint did since it was opened.

    `endpoint` names it (`publisher camera1`). `sent` and `received` count messages; `received` are those that were
    handed to the program. `dropped` counts messages that were sent while the queue of a receiver was full; 0 means
    that none ever was, another number is an estimate of what a receiver missed (ZeroMQ does not tell which, nor all).
    `refused` counts connections that access control turned away or that failed their handshake, on either side, and
    messages that did not fit the type of a typed subscriber. `malformed` counts messages that broke the rules of the
    wire (several short ones in a row may count as one), and were not handed out. `reconnects` counts connections that
    were made again after a loss. `clients` counts connections that were let in, by the client's name (or key, where it
    has no name); empty without a list of clients. `skipped` counts messages that a subscriber with `keep_last` did
    not get because newer ones came.

    Between peers of this library, a subscriber's `lost` are messages that were published and did not reach it: what its
    publisher sent since it subscribed is what it received, lost and skipped. What a publisher sent last, before it
    ended or the next message came, is not known to be lost. `restarts` counts publishers that began anew. `latency_p50`
    and `latency_p99` are of the last 1,000 messages, in seconds from `publish` until the message was taken out of the
    socket; None where nothing is known. `form` is how the last message came: `plain` as in the original, `whole`,
    `metadata` or `shared`; empty before the first. A publisher's `unshared` are frames for which its shared memory had
    no room, and which went through the socket instead.
    """

    endpoint: str
    sent: int = 0
    received: int = 0
    dropped: int = 0
    refused: int = 0
    malformed: int = 0
    reconnects: int = 0
    clients: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    skipped: int = 0
    lost: int = 0
    restarts: int = 0
    latency_p50: float | None = None
    latency_p99: float | None = None
    form: str = ""
    unshared: int = 0


class Bus:
    """Open endpoints by configuration, and close them."""

    def __init__(self, config: Source) -> None:
        """Check `config`: a dict, or the path of a JSON or TOML file that holds one.

        Raises:
            InvalidConfig: with the key that is wrong, what was expected and what came.
        """
        checked = load(config)
        self._type = checked["type"]
        self._transport = open_transport(self._type, checked)
        self._lock = threading.RLock()  # a signal handler may close while an endpoint is opened
        self._endpoints: weakref.WeakSet[Endpoint] = weakref.WeakSet()
        self._finalizer = at_the_end(self, functools.partial(_deliver, self._transport))
        opened(self)

    def reload(self, config: Source) -> None:
        """Go on with the keys, names and lists of another `config`, which is otherwise the same; files are read anew.

        Whoever is no longer let in is cut off within a second. Endpoints that were open stay so, and those that are
        opened from now on use the new configuration too. Where anything is wrong, nothing is changed.

        Raises:
            InvalidConfig: with the key that is wrong, or that cannot change while the program runs.
            MessageBusError: the context is closed.
        """
        checked = load(config)
        if checked["type"] != self._type:
            raise InvalidConfig(f"expected {self._type!r} as before, got {checked['type']!r}", "type")
        self._transport.reload(checked)

    def stats(self) -> tuple[Stats, ...]:
        """Return a snapshot for every open endpoint, in the order of their names."""
        return tuple(sorted((endpoint.stats for endpoint in self._opened()), key=lambda stats: stats.endpoint))

    def close(self) -> None:
        """Close every endpoint, and deliver what was published, as long as somebody reads it, within 2 seconds."""
        self._close_endpoints()
        self._finalizer()

    def _close_endpoints(self) -> None:
        """Close every endpoint, and wait for nothing: what was published is delivered until `close` returns."""
        for endpoint in self._opened():
            endpoint.close()

    def _be_inherited(self) -> None:
        """Be unusable in the child of a fork: what is open is the parent's."""
        self._lock = threading.RLock()
        self._transport = cast(Transport, Inherited("this context"))
        for endpoint in self._opened():
            endpoint._be_inherited()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a context stays in its process: make a new one in the other process")

    def _opened(self) -> tuple[Endpoint, ...]:
        with self._lock:
            return tuple(self._endpoints)

    def _add(self, endpoint: Endpoint) -> None:
        with self._lock:
            self._endpoints.add(endpoint)

    def _remove(self, endpoint: Endpoint) -> None:
        with self._lock:
            self._endpoints.discard(endpoint)


def _deliver(transport: Transport) -> None:
    with closing():
        transport.close()


class Endpoint:
    """Be one publisher, subscriber, service or requester. Closed twice is fine; used after that is an error."""

    kind = "endpoint"

    def __init__(self, bus: Bus, name: str, channel: Waitable) -> None:
        self.name = name
        self._bus = bus  # keeps it open
        self._channel = channel
        self._events = Events(self._title, channel.status)
        self._closed = False
        self._waiters: set[object] = set()
        self._guard = threading.RLock()
        self._release = at_the_end(self, channel.close)
        bus._add(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self._title} stays in its process: make a new context in the other process")

    def __repr__(self) -> str:
        return f"<{self._title}{' (closed)' if self._closed else ''}>"

    @property
    def stats(self) -> Stats:
        """Return a snapshot of what was counted."""
        return self._stats(self._channel.counts())

    @property
    def status(self) -> Status:
        """Return what the connection does, and since when."""
        return self._events.now()

    def on_event(self, callback: Listener) -> Callable[[], None]:
        """Call `callback` with every change of `status` from now on, until the function that is returned is called.

        It runs in a thread of the bus, and has to return soon: nothing else is noticed meanwhile. An exception in it
        is logged. The last event is `closed`.
        """
        return self._events.listen(callback)

    def close(self) -> None:
        """Close the endpoint; whoever waits in it gets an error. What was sent is still delivered."""
        self._closed = True
        self._bus._remove(self)
        if self._waiters:
            self._channel.wake()  # the last one out closes the channel: its descriptors are theirs until then
        else:
            self._release()
        self._events.end()

    def _be_inherited(self) -> None:
        """Be unusable in the child of a fork. Nobody who waited waits here, and no lock is worth anything."""
        self._guard = threading.RLock()
        self._waiters = set()
        self._closed = True
        self._channel = cast(Waitable, Inherited(self._title))
        self._events = Events(self._title, LiveStatus("closed"))

    def _arrive(self, waiter: object) -> None:
        """Count a caller among those who wait. It says `_depart` in a `finally`, whatever happens.

        No lock: whoever leaves takes himself off and then looks whether it is closed, and `close` says that it is and
        then looks who waits, so one of the two sees the other.
        """
        self._waiters.add(waiter)

    def _depart(self, waiter: object) -> None:
        self._waiters.discard(waiter)
        if self._closed and not self._waiters:
            self._release()

    @property
    def _title(self) -> str:
        return f"{self.kind} {self.name}"

    def _check_open(self) -> None:
        if self._closed:
            self._channel.counts()  # says so if it is the parent's
            raise Closed(f"{self._title} is closed")

    def _named(self, error: MessageBusError) -> MessageBusError:
        """Return what a channel says with the endpoint's name in it."""
        if isinstance(error, Closed):
            return Closed(f"{self._title} is closed")
        return MessageBusError(f"{self._title}: {error}") if type(error) is MessageBusError else error

    def _check_still_open(self) -> None:
        """Do as `_check_open` after a look at the channel: it may have taken the wake-up that `close` gave to all."""
        if self._closed:
            self._channel.wake()
            self._check_open()

    def _stats(self, counts: Counts) -> Stats:
        counted = {field.name: getattr(counts, field.name) for field in dataclasses.fields(counts)}
        latencies = sorted(counted.pop("latencies"))
        return Stats(
            self._title, **counted, latency_p50=_quantile(latencies, 0.5), latency_p99=_quantile(latencies, 0.99)
        )


def _quantile(latencies: Sequence[int], share: float) -> float | None:
    """Return the latency in seconds below which that share of the sorted ones is."""
    return latencies[min(len(latencies) - 1, int(share * len(latencies)))] / 1e9 if latencies else None
