"""From checked configuration to a plan: which socket, where, with which options. Plain data; opens nothing."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import sys

import zmq

from eis.msgbus._config import QUEUE_BYTES, Bind, ClientKeys, Clients, Config, Connect, SharedMemory, Users
from eis.msgbus.exceptions import MessageBusError
from eis.msgbus.transports.zmq.queues import MOST, SHORTEST

__all__ = ["Plan", "ipc_bind", "ipc_connect", "subscriptions", "tcp_bind", "tcp_connect", "with_keys"]

Options = tuple[tuple[int, int | bytes], ...]

LINGER = 2000
"""Milliseconds in which a closed publisher or service still delivers what was sent."""

_REQUEST, _FRAME = 16 * 2**20, 64 * 2**20
LARGEST_IN: dict[int, int] = {zmq.SUB: _FRAME, zmq.XSUB: _FRAME, zmq.REQ: _FRAME, zmq.ROUTER: _REQUEST}
LARGEST_OUT: dict[int, int] = {zmq.XPUB: _FRAME, zmq.ROUTER: _FRAME, zmq.REQ: _REQUEST}
"""Bytes of a part of a message, where `max_message_bytes` says nothing else: a request, or a frame of 8K video.

libzmq takes as much memory as a peer announces, before it knows who that is; so what comes in has a limit.
"""
_REQUESTS = 16
"""Requests of one client that a service always has room for: libzmq wakes its own thread after every half of them."""

_BEHIND = 2 * MOST
"""Messages for which a subscriber's queue is long, so that 1024 always have room: libzmq hears of what was read only
after every half of them. If a publisher ends while the queue is full, what the system still holds is lost."""

_SUBSCRIPTIONS = 4  # of one client that wait to be granted
_SUBSCRIPTION = 512  # bytes; all that comes to a publisher, whose process keeps it
_BESIDES = 4096  # bytes; CURVE adds 33 to each part, a native stream its header with name and descriptor

ROLES: dict[int, Options] = {
    zmq.XPUB: ((zmq.XPUB_NODROP, 1), (zmq.LINGER, LINGER)),  # a full queue is told: drops are counted
    zmq.SUB: ((zmq.LINGER, 0),),
    zmq.XSUB: ((zmq.LINGER, 0),),
    # A reply to a client that is gone is told, and counted.
    zmq.ROUTER: ((zmq.ROUTER_MANDATORY, 1), (zmq.LINGER, LINGER)),
    zmq.REQ: ((zmq.LINGER, 0),),
}
HANDSHAKE = 3000
"""Milliseconds in which a connection says who it is, or is closed."""

CONNECT: Options = ((zmq.CONNECT_TIMEOUT, 5000),)
"""Try again after 5 seconds where nothing answers at all; the system by itself waits longer and longer."""

KEEPALIVE: Options = (
    (zmq.TCP_KEEPALIVE, 1),
    (zmq.TCP_KEEPALIVE_IDLE, 10),
    (zmq.TCP_KEEPALIVE_INTVL, 5),
    (zmq.TCP_KEEPALIVE_CNT, 3),
)
"""Ask the peer's system for a sign of life after 10 seconds of silence, and give the connection up after 25.

No heartbeats of ZeroMQ: they cut a slow connection in the middle of a large frame, again and again.
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Say what to open: a socket of `kind` that binds or connects to `endpoint`, with `options` set before.

    `file` is the path of the socket file, None where there is none; `group` its group, None for what the system gives.
    `admitted` says who is let in; None: everyone. `credentials` are the CURVE options: one set for each key that the
    server may have, tried in turn; none where nothing is encrypted. `connect_retries` is after how many failed connects
    the connection is made anew; 0 for never. `largest` is how many bytes a part of a message that is sent may have: the
    peer cuts the connection of who sends more. `stalled_after` is after how many milliseconds without a message a
    connection is stalled; None for never. `queue_bytes` may wait for one peer, in at most `queue` messages; 0: any.
    `native` streams go to new peers, if they ask for them, and frames through memory that is `shared`.
    """

    kind: int
    endpoint: str
    bind: bool
    options: Options = dataclasses.field(repr=False)
    file: str | None = None
    group: int | None = None
    admitted: Clients | Users | None = None
    credentials: tuple[Options, ...] = dataclasses.field(default=(), repr=False)
    connect_retries: int = 0
    largest: int = _FRAME
    stalled_after: int | None = None
    queue_bytes: int = QUEUE_BYTES
    queue: int = MOST
    native: bool = False
    shared: SharedMemory | None = None

    @property
    def keys(self) -> bool:
        """Tell whether the link is encrypted."""
        return bool(self.credentials)

    @property
    def address(self) -> str:
        """Return the endpoint as a person reads it."""
        return self.endpoint.partition("://")[2]

    @property
    def topics(self) -> bool:
        """Tell whether some clients may read some topics only."""
        return isinstance(self.admitted, Clients) and self.admitted.topics is not None


def ipc_bind(kind: int, path: str, config: Config, group: int | None, admitted: Users | None) -> Plan:
    """Plan a socket that makes the socket file at `path`, and listens there."""
    plan = _plan(kind, f"ipc://{path}", config, bind=True)
    return dataclasses.replace(plan, file=path, group=group, admitted=admitted, shared=_shared(plan, config))


def ipc_connect(kind: int, path: str, config: Config) -> Plan:
    """Plan a socket that connects to the socket file at `path`."""
    plan = _plan(kind, f"ipc://{path}", config, bind=False)
    return dataclasses.replace(plan, file=path, shared=_shared(plan, config))


def tcp_bind(kind: int, bind: Bind, config: Config) -> Plan:
    """Plan a socket that listens on a port."""
    address = bind.host if bind.host == "*" else _address_of(bind.host)
    options = KEEPALIVE + _family(address)
    return with_keys(_plan(kind, _endpoint(address, bind.port), config, options, bind=True), bind)


def tcp_connect(kind: int, connect: Connect, config: Config) -> Plan:
    """Plan a socket that connects to a port; libzmq looks the name up, again for every attempt."""
    options = KEEPALIVE + CONNECT + _family(_known_address_of(connect.host))
    return with_keys(_plan(kind, _endpoint(connect.host, connect.port), config, options, bind=False), connect)


def with_keys(plan: Plan, where: Bind | Connect) -> Plan:
    """Return the plan with the keys and clients of `where`."""
    if isinstance(where, Connect):
        return dataclasses.replace(plan, credentials=() if where.keys is None else _curve_client(where.keys))
    secret = None if where.secret is None else ((zmq.CURVE_SERVER, 1), (zmq.CURVE_SECRETKEY, where.secret.encode()))
    return dataclasses.replace(plan, credentials=() if secret is None else (secret,), admitted=where.clients)


def _plan(kind: int, endpoint: str, config: Config, options: Options = (), *, bind: bool) -> Plan:
    """Plan what sockets of this kind have in common, wherever they are."""
    taken = config.max_message_bytes or LARGEST_IN[kind] if kind in LARGEST_IN else _SUBSCRIPTION
    sent = config.max_message_bytes or LARGEST_OUT[kind] if kind in LARGEST_OUT else _SUBSCRIPTION
    limits = ((zmq.MAXMSGSIZE, taken + _BESIDES), (zmq.HANDSHAKE_IVL, HANDSHAKE))
    usual = _BEHIND if kind == zmq.SUB else MOST
    queue = usual if config.recv_hwm is None else config.recv_hwm
    return Plan(
        kind,
        endpoint,
        bind,
        ROLES[kind] + limits + _queues(kind, queue, max(_REQUESTS, config.queue_bytes // taken)) + options,
        connect_retries=config.connect_retries or 0,
        largest=sent,
        stalled_after=config.stalled_after if kind == zmq.SUB else None,
        queue_bytes=config.queue_bytes,
        queue=queue,
        native=_is_native(kind, config, bind=bind),
    )


def _is_native(kind: int, config: Config, *, bind: bool) -> bool:
    """Tell whether streams may be native: not through a broker, and not where no connection is told from another."""
    return config.native and (kind == zmq.SUB or (kind == zmq.XPUB and bind and sys.platform != "win32"))


def _shared(plan: Plan, config: Config) -> SharedMemory | None:
    return config.shared_memory if plan.native and sys.platform == "linux" else None


def subscriptions(plan: Plan) -> Options:
    """Say who grants subscriptions: we do; or libzmq, which tells of each, the repeated ones too: they are counted.

    Where we do, few may wait: libzmq keeps some kilobytes for each that it has read, whether it is granted or not, and
    with more it does not stop to read them.
    """
    if plan.kind != zmq.XPUB:
        return ()
    if plan.native or plan.topics:
        return ((zmq.XPUB_MANUAL, 1), (zmq.RCVHWM, _SUBSCRIPTIONS))
    return ((zmq.XPUB_VERBOSER, 1),)


def _curve_client(keys: ClientKeys) -> tuple[Options, ...]:
    own = ((zmq.CURVE_PUBLICKEY, keys.public.encode()), (zmq.CURVE_SECRETKEY, keys.secret.encode()))
    return tuple(((zmq.CURVE_SERVERKEY, server.encode()), *own) for server in keys.server_publics)


def _queues(kind: int, most: int, requests: int) -> Options:
    """Say how many messages may wait at first; a service has room for `requests` of each client."""
    of_service = min(most or MOST, requests)
    roles: dict[int, Options] = {
        zmq.XPUB: ((zmq.SNDHWM, SHORTEST),),
        zmq.SUB: ((zmq.RCVHWM, most),),
        zmq.XSUB: ((zmq.RCVHWM, most),),
        zmq.REQ: ((zmq.RCVHWM, MOST),),  # there is one reply at a time
        zmq.ROUTER: ((zmq.RCVHWM, of_service),),
    }
    return roles[kind]


def _endpoint(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if _is_ipv6(host) else f"tcp://{host}:{port}"


def _family(address: str) -> Options:
    """Switch IPv6 on only where it is needed: with it libzmq asks for IPv6 first, and reaches no IPv4 listener."""
    return ((zmq.IPV6, 1),) if _is_ipv6(address) else ()


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _address_of(host: str) -> str:
    """Return the first address of a host, IPv4 before IPv6: libzmq binds to addresses, not to names.

    Raises:
        MessageBusError: the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise MessageBusError(f"cannot find host {host!r}: {getattr(error, 'strerror', 'no host name')}") from error
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def _known_address_of(host: str) -> str:
    """Return an address of the host, or its name where it is not known yet: a peer may start later."""
    try:
        return _address_of(host)
    except MessageBusError:
        return host
