"""The decisions of access control, with literal questions; and what a broken question does to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from eis.msgbus import keys
from eis.msgbus._config import Clients
from eis.msgbus.transports.zmq.access import AccessControl
from tests.transports.zmq.helpers import CLIENT, STRANGER

LISTED, UNLISTED = keys.bits(CLIENT.public), keys.bits(STRANGER.public)


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def access(context: "zmq.Context[zmq.Socket[bytes]]") -> Iterator[AccessControl]:
    access = AccessControl(context)
    access.admit("pub", Clients({CLIENT.public: "viewer"}))
    yield access
    access.close()


@contextmanager
def asking(context: "zmq.Context[zmq.Socket[bytes]]") -> Iterator["zmq.Socket[bytes]"]:
    with context.socket(zmq.REQ) as asker:
        asker.linger = 0
        asker.rcvtimeo = 5000
        asker.connect("inproc://zeromq.zap.01")
        yield asker


def question(domain: bytes, mechanism: bytes, *credentials: bytes) -> list[bytes]:
    return [b"1.0", b"7", domain, b"127.0.0.1", b"", mechanism, *credentials]


@pytest.mark.parametrize(
    ("domain", "mechanism", "credentials", "status"),
    [
        (b"pub", b"CURVE", [LISTED], b"200"),
        (b"pub", b"CURVE", [UNLISTED], b"400"),
        (b"pub", b"CURVE", [LISTED[:31]], b"400"),
        (b"pub", b"CURVE", [LISTED, LISTED], b"400"),
        (b"pub", b"CURVE", [], b"400"),
        (b"pub", b"NULL", [], b"400"),
        (b"pub", b"PLAIN", [LISTED, b"password"], b"400"),
        (b"other", b"CURVE", [LISTED], b"400"),
        (b"", b"CURVE", [LISTED], b"400"),
        (b"*", b"CURVE", [LISTED], b"400"),
    ],
)
def test_only_a_listed_curve_key_of_the_domain_is_admitted(  # noqa: PLR0917  # the columns of a table
    context: "zmq.Context[zmq.Socket[bytes]]",
    access: AccessControl,
    domain: bytes,
    mechanism: bytes,
    credentials: list[bytes],
    status: bytes,
) -> None:
    assert access._thread is not None
    with asking(context) as asker:
        asker.send_multipart(question(domain, mechanism, *credentials))
        version, request, answered, _, user, metadata = asker.recv_multipart()
    assert (version, request, answered, user, metadata) == (b"1.0", b"7", status, b"", b"")


def test_nobody_is_admitted_when_the_domain_is_forgotten(
    context: "zmq.Context[zmq.Socket[bytes]]", access: AccessControl
) -> None:
    access.forget("pub")
    with asking(context) as asker:
        asker.send_multipart(question(b"pub", b"CURVE", LISTED))
        assert asker.recv_multipart()[2] == b"400"


@pytest.mark.parametrize("broken", [[b""], [b"1.0"], [b"1.0", b"7"], [b"1.0", b"7", b"pub"]])
def test_handler_goes_on_when_a_question_is_broken(
    context: "zmq.Context[zmq.Socket[bytes]]",
    access: AccessControl,
    broken: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert access._thread is not None
    with asking(context) as stranger, asking(context) as asker:
        stranger.send_multipart(broken)
        asker.send_multipart(question(b"pub", b"CURVE", LISTED))
        assert asker.recv_multipart()[2] == b"200"
    assert "access control refuses a client" in caplog.text


def test_second_domain_is_answered_by_the_same_thread(access: AccessControl) -> None:
    thread = access._thread
    access.admit("service", Clients({STRANGER.public: "stranger"}))
    assert access._thread is thread
    assert access._decide(b"service", b"CURVE", [UNLISTED])[0] == b"200"
    assert access._decide(b"pub", b"CURVE", [UNLISTED])[0] == b"400"


def test_close_ends_the_thread(access: AccessControl) -> None:
    access.close()
    assert access._thread is not None
    assert not access._thread.is_alive()


def test_close_is_fine_when_nothing_was_admitted(context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    AccessControl(context).close()
