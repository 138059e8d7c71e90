"""What the configuration can say beyond names: files, brokers, queues, retries, hosts."""

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

import eis.msgbus as mb
from tests.transports.zmq.conftest import Open, Raw
from tests.transports.zmq.helpers import Sides, ipc_sides, running, tcp_sides, until


def exchange(publisher: mb.Publisher, subscriber: mb.Subscriber[Any]) -> None:
    publisher.wait_for_subscribers(1, 5000)
    publisher.publish({"n": 1})
    assert subscriber.recv(5000).meta_data == {"n": 1}


def test_each_name_has_its_own_file_without_a_socket_file(socket_dir: Path, opened: Open) -> None:
    bus = opened({"type": "zmq_ipc", "socket_dir": str(socket_dir)})
    publishers = [bus.new_publisher(topic) for topic in ("camera1", "camera2")]
    assert sorted(path.name for path in socket_dir.iterdir() if path.is_socket()) == ["camera1", "camera2"]
    for publisher in publishers:
        exchange(publisher, bus.new_subscriber(publisher.name))


def test_names_share_a_socket_file_when_the_configuration_says_so(socket_dir: Path, opened: Open) -> None:
    entry = {"socket_file": "all"}
    bus = opened({"type": "zmq_ipc", "socket_dir": str(socket_dir), "camera1": entry, "camera2": entry})
    publishers = [bus.new_publisher(topic) for topic in ("camera1", "camera2")]
    assert [path.name for path in socket_dir.iterdir() if path.is_socket()] == ["all"]
    for publisher in publishers:
        exchange(publisher, bus.new_subscriber(publisher.name))


def test_name_without_an_entry_takes_the_default_entry(socket_dir: Path, opened: Open) -> None:
    bus = opened({"type": "zmq_ipc", "socket_dir": str(socket_dir), "": {"socket_file": "default"}})
    publisher, subscriber = bus.new_publisher("any"), bus.new_subscriber("any")
    assert (socket_dir / "default").is_socket()
    exchange(publisher, subscriber)


@pytest.mark.parametrize("mode", ["ipc", "tcp"])
def test_brokered_publishers_reach_subscribers_through_the_broker(
    mode: str, socket_dir: Path, free_ports: Callable[[int], list[int]], raw: Raw, opened: Open
) -> None:
    sides = ipc_sides(socket_dir) if mode == "ipc" else tcp_sides(free_ports(2), "tcp")
    server = {**sides.server}
    if mode == "ipc":
        front, server[""] = f"ipc://{socket_dir}/broker", {"socket_file": "broker", "brokered": True}
    else:
        port = free_ports(1)[0]
        front, server["zmq_tcp_publish"] = (
            f"tcp://127.0.0.1:{port}",
            {"host": "127.0.0.1", "port": port, "brokered": True},
        )
    front_socket, back = raw(zmq.XSUB, bind=front), raw(zmq.XPUB, bind=sides.publisher)
    control, controller = raw(zmq.PAIR, bind="inproc://control"), raw(zmq.PAIR, connect="inproc://control")
    with running(lambda: zmq.proxy_steerable(front_socket, back, None, control)):
        publishers = [opened(server).new_publisher("camera1") for _ in range(2)]
        subscriber = opened(sides.client).new_subscriber("camera1")
        for number, publisher in enumerate(publishers):
            publisher.wait_for_subscribers(1, 5000)
            publisher.publish({"n": number})
        assert sorted(subscriber.recv(5000).meta_data["n"] for _ in range(2)) == [0, 1]
        controller.send(b"TERMINATE")


def test_drops_are_counted_and_publishing_never_waits_when_a_subscriber_does_not_read(
    plain_sides: Sides, opened: Open
) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    slow = opened({**plain_sides.client, "zmq_recv_hwm": 10}).new_subscriber("camera1")
    publisher.wait_for_subscribers(1, 5000)
    for number in range(3000):
        publisher.publish(({"n": number}, bytes(10_000)))
    assert publisher.stats.sent == 3000
    assert 0 < publisher.stats.dropped < 3000
    numbers = [slow.recv(5000).meta_data["n"]]
    while read(slow, numbers):
        pass
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 3000 - publisher.stats.dropped


def read(subscriber: mb.Subscriber[Any], numbers: list[int]) -> bool:
    try:
        numbers.append(subscriber.recv(300).meta_data["n"])
    except mb.ReceiveTimeout:
        return False
    return True


def test_fast_subscriber_misses_nothing_when_another_does_not_read(plain_sides: Sides, opened: Open) -> None:
    publisher = opened(plain_sides.server).new_publisher("camera1")
    client = opened(plain_sides.client)
    slow, fast = (
        opened({**plain_sides.client, "zmq_recv_hwm": 1}).new_subscriber("camera1"),
        client.new_subscriber("camera1"),
    )
    publisher.wait_for_subscribers(2, 5000)
    for number in range(2500):
        publisher.publish(({"n": number}, bytes(10_000)))
        assert fast.recv(5000).meta_data == {"n": number}
    assert publisher.stats.dropped > 0
    assert slow.recv(5000).meta_data == {"n": 0}


def test_subscriber_connects_after_retries_have_run_out(free_ports: Callable[[int], list[int]], opened: Open) -> None:
    sides = tcp_sides(free_ports(2), "tcp")
    subscriber = opened({**sides.client, "zmq_connect_retries": 1}).new_subscriber("camera1")
    link = subscriber._channel.link  # type: ignore[attr-defined]
    until(lambda: link.renewed >= 2)
    exchange(opened(sides.server).new_publisher("camera1"), subscriber)


def test_queued_request_survives_when_retries_have_run_out(
    free_ports: Callable[[int], list[int]], opened: Open
) -> None:
    sides = tcp_sides(free_ports(2), "tcp")
    requester = opened({**sides.client, "zmq_connect_retries": 1}).get_service("echo")
    requester.request({"n": 1})
    link = requester._channel.link  # type: ignore[attr-defined]
    until(lambda: link.renewed >= 1)
    service = opened(sides.server).new_service("echo")
    with running(lambda: service.response(service.recv(10000))):
        assert requester.recv(10000).meta_data == {"n": 1}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", "localhost"),
        ("*", "127.0.0.1"),
        pytest.param("::1", "::1", marks=pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")),
    ],
)
def test_host_is_a_name_or_an_address(
    here: str, there: str, free_ports: Callable[[int], list[int]], opened: Open
) -> None:
    ports = free_ports(2)
    publisher = opened(tcp_sides(ports, "curve", here).server).new_publisher("camera1")
    exchange(publisher, opened(tcp_sides(ports, "curve", there).client).new_subscriber("camera1"))


def test_address_in_use_is_an_error_that_names_it(tcp_sides_of_each: Sides, opened: Open) -> None:
    first = opened(tcp_sides_of_each.server).new_publisher("camera1")
    with pytest.raises(mb.AddressInUse, match=r"^cannot listen at 127\.0\.0\.1:\d+: Address already in use$") as caught:
        opened(tcp_sides_of_each.server).new_publisher("camera1")
    assert first.stats.sent == 0
    assert isinstance(caught.value.__cause__, zmq.ZMQError)
    assert caught.value.__cause__.errno == errno.EADDRINUSE


def test_opening_is_an_error_that_names_the_address_when_there_are_no_sockets_left(
    plain_sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise zmq.ZMQError(errno.EMFILE)

    bus = opened(plain_sides.client)
    monkeypatch.setattr("zmq.Context.socket", full)
    with pytest.raises(mb.MessageBusError, match=r"cannot connect to .*: Too many open files"):
        bus.new_subscriber("camera1")


def test_zmq_ipc_is_refused_on_windows(socket_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eis.msgbus.transports.zmq.transport.sys.platform", "win32")
    with pytest.raises(mb.InvalidConfig, match="zmq_ipc needs Unix sockets"):
        mb.MsgbusContext({"type": "zmq_ipc", "socket_dir": str(socket_dir)})


def test_an_old_libzmq_is_an_error_that_says_what_to_install(
    plain_sides: Sides, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: (4, 3, 4))
    with pytest.raises(mb.MessageBusError, match=r"expected libzmq 4.3.5 or newer, got .*: pip install -U pyzmq"):
        opened(plain_sides.server).new_publisher("camera1")
