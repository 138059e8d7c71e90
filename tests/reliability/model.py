"""A small model of a publisher with a list of clients: what may arrive where, whatever happens in whatever order."""

import contextlib
import dataclasses
from collections import Counter
from typing import Any, ClassVar

import zmq
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import eis.msgbus as mb
from eis.msgbus import keys
from tests.reliability.history import History, numbered
from tests.transports.zmq.helpers import SERVER, client_keys, until

__all__ = ["Model"]

NAMES = ("viewer", "logger", "stranger")
PAIRS = {name: keys.new_key_pair() for name in NAMES}
WHO = st.sampled_from(NAMES[:2])


@dataclasses.dataclass
class Client:
    """Subscribe, and hold what came against what may come."""

    subscriber: mb.Subscriber[Any]
    history: History = dataclasses.field(default_factory=History)
    paused: bool = False
    whole: bool = False  # it is connected since `met`: it can miss only what the publisher counts
    met: tuple[int, int] = (0, 0)  # how many messages were published in this epoch, and how many it had received
    received: Counter[int] = dataclasses.field(default_factory=Counter)  # in each epoch
    barred: list[tuple[int, int]] = dataclasses.field(default_factory=list)  # epoch and number from when on it was
    problems: list[str] = dataclasses.field(default_factory=list)

    def drain(self, listed: bool) -> None:
        """Take what has come."""
        with contextlib.suppress(mb.NoMessage):
            while True:
                try:
                    place = self.history.take(self.subscriber.recv(0))
                except mb.MessageBusAuthenticationFailed:
                    continue
                self.received[place[0]] += 1
                if not listed and self.barred and place >= self.barred[-1]:
                    self.problems.append(f"got {place}, though it was barred from {self.barred[-1]}")


class Model(RuleBasedStateMachine):
    """Do anything to one publisher and two clients, of whom each may be listed or not; a stranger never is.

    An epoch is one life of the publisher. `port`, `steps`, `lost` and `exactly` (whether a loss was
    counted so) are of the class, which a test derives.
    """

    port = 0
    steps = lost = 0
    exactly: ClassVar[Counter[bool]]

    def __init__(self) -> None:
        super().__init__()
        self.listed = set(NAMES[:2])
        self.epoch = self.number = 0
        self.server: mb.MsgbusContext | None = None
        self.publisher: mb.Publisher
        self.stack = contextlib.ExitStack()
        self.clients: dict[str, Client] = {}

    @initialize()
    def meet(self) -> None:
        for name in NAMES:
            entry = {"host": "127.0.0.1", "port": self.port, **client_keys(PAIRS[name])}
            bus = self.stack.enter_context(mb.MsgbusContext({"type": "zmq_tcp", "camera1": entry}))
            self.clients[name] = Client(bus.new_subscriber("camera1"))
        self.start()

    def config(self) -> dict[str, Any]:
        return {
            "type": "zmq_tcp",
            "zmq_tcp_publish": {"host": "127.0.0.1", "port": self.port, "server_secret_key": SERVER.secret},
            "clients": {name: PAIRS[name].public for name in NAMES},
            "allowed_clients": sorted(self.listed),
        }

    @precondition(lambda self: self.server is None)
    @rule()
    def start(self) -> None:
        """Begin an epoch; who is listed and reads gets all of it, once it is there.

        Who does not read may have a full queue, behind which libzmq does not see that the connection has ended.
        """
        type(self).steps += 1
        self.epoch, self.number = self.epoch + 1, 0
        self.server = mb.MsgbusContext(self.config())
        self.publisher = self.server.new_publisher("camera1")
        readers = self._readers()
        until(lambda: self._are_up_to_date(readers), 20)
        for name, client in self.clients.items():
            client.drain(name in self.listed)
            client.whole = name in readers
            client.met = (self.number, client.received[self.epoch])

    def _readers(self) -> list[str]:
        return [name for name in self.listed if not self.clients[name].paused]

    @precondition(lambda self: self.server is not None)
    @rule(count=st.sampled_from((1, 3, 50, 400)))
    def publish(self, count: int) -> None:
        type(self).steps += 1
        for _ in range(count):
            self.publisher.publish(numbered(self.epoch, self.number))
            self.number += 1

    @precondition(lambda self: self.server is not None)
    @rule()
    def flood(self) -> None:
        """Publish more than the queues of both sides and of the system take, while nobody reads."""
        type(self).steps += 1
        for _ in range(5000):
            self.publisher.publish((*numbered(self.epoch, self.number), bytes(20_000)))
            self.number += 1

    @precondition(lambda self: self.server is not None)
    @rule()
    def settle(self) -> None:
        """Let everybody who may read be up to date, and count."""
        type(self).steps += 1
        readers = self._readers()
        until(lambda: self._are_up_to_date(readers), 20)
        self._count()

    def _are_up_to_date(self, readers: list[str]) -> bool:
        """Publish one more, and tell whether it comes to all soon; who connects anew misses some."""
        self.publisher.publish(numbered(self.epoch, self.number))
        self.number += 1
        with contextlib.suppress(AssertionError):
            until(lambda: all(self._has_come(name) for name in readers), 0.2)
        return all(self._has_come(name) for name in readers)

    def _has_come(self, name: str) -> bool:
        client = self.clients[name]
        client.drain(listed=True)
        return (client.history.epoch, client.history.last) == (self.epoch, self.number - 1)

    def _count(self) -> None:
        """See that nothing is lost silently; with one client, look whether it was counted exactly."""
        dropped = self.publisher.stats.dropped
        counted = [client for name, client in self.clients.items() if name in self.listed]
        for client in counted:
            if client.whole and not client.paused:
                missed = self.number - client.met[0] - (client.received[self.epoch] - client.met[1])
                assert missed >= 0
                assert dropped or not missed, f"{missed} of {self.number} are missing, and nothing was counted"
                type(self).lost += missed
                if len(counted) == 1 and missed:
                    type(self).exactly[missed == dropped] += 1

    @precondition(lambda self: self.server is not None)
    @rule(killed=st.booleans())
    def end(self, killed: bool) -> None:
        """End the epoch; what waits in the queues is lost if the publisher was killed."""
        type(self).steps += 1
        assert self.server is not None
        link = self.publisher._channel._socket.link  # type: ignore[attr-defined]
        if killed:
            link.socket.set(zmq.LINGER, 0)
        self.server.close()
        self.server = None

    @rule(who=WHO)
    def pause(self, who: str) -> None:
        type(self).steps += 1
        self.clients[who].paused = not self.clients[who].paused

    @rule(who=WHO)
    def change_list(self, who: str) -> None:
        """Take a client off the list or put it on; it is cut within a second, and the others begin anew."""
        type(self).steps += 1
        self.listed ^= {who}
        if self.server is not None:
            self.server.reload(self.config())
            for client in self.clients.values():
                client.whole = False
        if who not in self.listed:
            with contextlib.suppress(AssertionError):
                until(lambda: self.server is None or self.clients[who].subscriber.status.state == "denied", 1.0)
            self.clients[who].drain(listed=True)
            self.clients[who].barred.append((self.epoch if self.server else self.epoch + 1, self.number))

    @invariant()
    def nobody_gets_what_is_not_for_him(self) -> None:
        for name, client in self.clients.items():
            if not client.paused:
                client.drain(name in self.listed)
            assert not client.problems, client.problems
            assert not client.history.problems, client.history.problems
        if self.clients:
            assert self.clients["stranger"].history.received == 0

    def teardown(self) -> None:
        if self.server is not None:
            self.server.close()
        self.stack.close()
