"""From configuration to plan, with literals."""

import socket
from typing import Any

import pytest
import zmq

from eis.msgbus import MessageBusError
from eis.msgbus._config import Bind, ClientKeys, Clients, Config, Connect
from eis.msgbus.transports.zmq import plan as plans
from tests.transports.zmq.helpers import CLIENT, SERVER, STRANGER

CONFIG = Config({"type": "zmq_tcp"})
MIB = 2**20
TUNED = Config({"type": "zmq_tcp", "zmq_recv_hwm": 7, "zmq_connect_retries": 3})


def options(plan: plans.Plan) -> dict[int, Any]:
    return dict(plan.options)


def test_ipc_plan_of_a_publisher_binds_its_file() -> None:
    plan = plans.ipc_bind(zmq.XPUB, "/run/bus/camera1", CONFIG, 44, None)
    assert (plan.kind, plan.endpoint, plan.bind) == (zmq.XPUB, "ipc:///run/bus/camera1", True)
    assert (plan.file, plan.group, plan.address) == ("/run/bus/camera1", 44, "/run/bus/camera1")
    assert options(plan) == {
        zmq.MAXMSGSIZE: 512 + 4096,
        zmq.HANDSHAKE_IVL: 3000,
        zmq.XPUB_NODROP: 1,
        zmq.LINGER: 2000,
        zmq.SNDHWM: 2,
    }


@pytest.mark.parametrize(
    ("native", "bind", "option"),
    [(True, True, zmq.XPUB_MANUAL), (False, True, zmq.XPUB_VERBOSER), (True, False, zmq.XPUB_VERBOSER)],
)
def test_subscriptions_are_granted_one_by_one_where_streams_may_be_native(
    native: bool, bind: bool, option: int
) -> None:
    config = Config({"type": "zmq_ipc", "socket_dir": "/run/bus", "native": native})
    path = "/run/bus/camera1"
    plan = plans.ipc_bind(zmq.XPUB, path, config, 44, None) if bind else plans.ipc_connect(zmq.XPUB, path, config)
    few = ((zmq.RCVHWM, 4),) if option == zmq.XPUB_MANUAL else ()
    assert plans.subscriptions(plan) == ((option, 1), *few)
    assert plans.subscriptions(plans.ipc_connect(zmq.SUB, path, config)) == ()


def test_ipc_plan_of_a_client_connects_to_its_file() -> None:
    plan = plans.ipc_connect(zmq.SUB, "/run/bus/camera1", TUNED)
    assert (plan.bind, plan.file, plan.connect_retries) == (False, "/run/bus/camera1", 3)
    assert (options(plan)[zmq.LINGER], options(plan)[zmq.RCVHWM], plan.queue) == (0, 7, 7)


def test_connections_between_machines_are_kept_alive_by_the_system_and_never_cut_by_heartbeats() -> None:
    alive = {zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 10, zmq.TCP_KEEPALIVE_INTVL: 5, zmq.TCP_KEEPALIVE_CNT: 3}
    bound = options(plans.tcp_bind(zmq.XPUB, Bind("127.0.0.1", 1, None, None), CONFIG))
    connected = options(plans.tcp_connect(zmq.SUB, Connect("127.0.0.1", 1, None), CONFIG))
    for each in (bound, connected):
        assert {option: each[option] for option in alive} == alive
        assert not {zmq.HEARTBEAT_IVL, zmq.HEARTBEAT_TIMEOUT, zmq.TCP_MAXRT} & set(each)
    assert connected[zmq.CONNECT_TIMEOUT] == 5000
    file = options(plans.ipc_connect(zmq.SUB, "/run/bus/camera1", CONFIG))
    assert not {zmq.TCP_KEEPALIVE, zmq.CONNECT_TIMEOUT} & set(file)


@pytest.mark.parametrize(
    ("kind", "takes", "sends"),
    [
        (zmq.XPUB, 512, 64 * MIB),
        (zmq.SUB, 64 * MIB, 512),
        (zmq.REQ, 64 * MIB, 16 * MIB),
        (zmq.ROUTER, 16 * MIB, 64 * MIB),
    ],
)
def test_parts_of_messages_have_a_limit(kind: int, takes: int, sends: int) -> None:
    plan = plans.ipc_connect(kind, "/run/bus/camera1", CONFIG)
    assert (options(plan)[zmq.MAXMSGSIZE], plan.largest) == (takes + 4096, sends)


@pytest.mark.parametrize(
    ("kind", "takes", "sends"),
    [(zmq.XPUB, 512, 100), (zmq.SUB, 100, 512), (zmq.REQ, 100, 100), (zmq.ROUTER, 100, 100)],
)
def test_max_message_bytes_is_the_limit_of_both_sides(kind: int, takes: int, sends: int) -> None:
    config = Config({"type": "zmq_tcp", "max_message_bytes": 100})
    for plan in (
        plans.tcp_bind(kind, Bind("127.0.0.1", 1, None, None), config),
        plans.tcp_connect(kind, Connect("127.0.0.1", 1, None), config),
    ):
        assert (options(plan)[zmq.MAXMSGSIZE], plan.largest) == (takes + 4096, sends)


def test_tcp_plan_of_a_server_has_its_secret_and_its_list() -> None:
    allowed = Clients({CLIENT.public: CLIENT.public})
    plan = plans.tcp_bind(zmq.ROUTER, Bind("127.0.0.1", 5555, SERVER.secret, allowed), CONFIG)
    assert (plan.endpoint, plan.bind, plan.admitted, plan.keys) == ("tcp://127.0.0.1:5555", True, allowed, True)
    assert plan.credentials == (((zmq.CURVE_SERVER, 1), (zmq.CURVE_SECRETKEY, SERVER.secret.encode())),)
    assert SERVER.secret not in repr(plan)


def test_tcp_plan_of_a_server_without_secret_has_no_keys() -> None:
    plan = plans.tcp_bind(zmq.XPUB, Bind("*", 5555, None, None), CONFIG)
    assert (plan.endpoint, plan.keys) == ("tcp://*:5555", False)


def test_tcp_plan_of_a_client_has_its_three_keys() -> None:
    keys = ClientKeys((SERVER.public, STRANGER.public), CLIENT.public, CLIENT.secret)
    plan = plans.tcp_connect(zmq.REQ, Connect("127.0.0.1", 5555, keys), TUNED)
    assert (plan.endpoint, plan.bind, plan.keys, plan.connect_retries) == ("tcp://127.0.0.1:5555", False, True, 3)
    own = ((zmq.CURVE_PUBLICKEY, CLIENT.public.encode()), (zmq.CURVE_SECRETKEY, CLIENT.secret.encode()))
    assert plan.credentials == tuple(((zmq.CURVE_SERVERKEY, key.public.encode()), *own) for key in (SERVER, STRANGER))
    assert CLIENT.secret not in repr(plan)


def test_ipv6_is_switched_on_only_where_it_is_needed() -> None:
    six = plans.tcp_connect(zmq.SUB, Connect("::1", 5555, None), CONFIG)
    four = plans.tcp_connect(zmq.SUB, Connect("127.0.0.1", 5555, None), CONFIG)
    assert (six.endpoint, options(six).get(zmq.IPV6)) == ("tcp://[::1]:5555", 1)
    assert zmq.IPV6 not in options(four)
    bound = plans.tcp_bind(zmq.XPUB, Bind("::1", 5555, None, None), CONFIG)
    assert (bound.endpoint, options(bound).get(zmq.IPV6)) == ("tcp://[::1]:5555", 1)


def test_server_binds_to_the_first_address_of_a_name_ipv4_before_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, 0, 0, "", ("::1", 0, 0, 0)), (socket.AF_INET, 0, 0, "", ("127.0.0.2", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert plans.tcp_bind(zmq.XPUB, Bind("box", 1, None, None), CONFIG).endpoint == "tcp://127.0.0.2:1"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found[:1])
    assert plans.tcp_bind(zmq.XPUB, Bind("box", 1, None, None), CONFIG).endpoint == "tcp://[::1]:1"


@pytest.mark.parametrize("problem", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label empty")])
def test_server_refuses_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(MessageBusError, match="cannot find host 'nowhere'"):
        plans.tcp_bind(zmq.XPUB, Bind("nowhere", 1, None, None), CONFIG)


def test_client_keeps_a_name_that_is_not_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    plan = plans.tcp_connect(zmq.SUB, Connect("later.example", 1, None), CONFIG)
    assert plan.endpoint == "tcp://later.example:1"
