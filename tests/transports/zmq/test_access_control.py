"""The decisions of access control, with literal questions; and what a broken question does to it."""

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from eis.msgbus import keys
from eis.msgbus._config import Clients
from eis.msgbus.transports.zmq import door
from eis.msgbus.transports.zmq.access import AccessControl
from eis.msgbus.transports.zmq.door import Door, Question
from tests.transports.zmq.helpers import CLIENT, STRANGER, Clock, until

LISTED, UNLISTED = keys.bits(CLIENT.public), keys.bits(STRANGER.public)


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def access(context: "zmq.Context[zmq.Socket[bytes]]") -> Iterator[AccessControl]:
    access = AccessControl(context)
    access.admit("pub", "box:1", Clients({CLIENT.public: "viewer"}))
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
        (b"pub", b"GSSAPI", [LISTED], b"400"),  # a name of 32 bytes, which is no proof of a key
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
    name = b"viewer" if status == b"200" else b""
    assert (version, request, answered, user, metadata) == (b"1.0", b"7", status, name, b"")


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
    assert "access control" in caplog.text


def test_second_domain_is_answered_by_the_same_thread(access: AccessControl) -> None:
    thread = access._thread
    access.admit("service", "box:2", Clients({STRANGER.public: "stranger"}))
    assert access._thread is thread
    for domain, status in ((b"service", b"200"), (b"pub", b"400")):
        assert access._decide([b"", b"", *question(domain, b"CURVE", UNLISTED)])[0][0] == status


def test_close_ends_the_thread(access: AccessControl) -> None:
    access.close()
    assert access._thread is not None
    assert not access._thread.is_alive()


def test_close_is_fine_when_nothing_was_admitted(context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    AccessControl(context).close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(door, "time", clock)
    return clock


def knock(at: Door, credential: bytes, mechanism: bytes = b"CURVE") -> str | None:
    asked = Question("192.0.2.7", mechanism, (credential,))
    name = at.judge(asked)
    at.tell(asked, name)
    return name


def test_door_counts_and_logs_who_was_let_in_by_name(caplog: pytest.LogCaptureFixture) -> None:
    at = Door("box:1")
    at.judge_by(Clients({CLIENT.public: "viewer", STRANGER.public: STRANGER.public}))
    with caplog.at_level(logging.INFO):
        assert [knock(at, LISTED), knock(at, UNLISTED), knock(at, LISTED)] == ["viewer", STRANGER.public, "viewer"]
    assert (at.let_in, at.refused) == ({"viewer": 2, STRANGER.public: 1}, 0)
    assert caplog.messages[0] == "box:1 let viewer in, from 192.0.2.7"


def test_door_logs_the_key_and_address_of_who_was_refused_now_and_then(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    at = Door("box:1")
    at.judge_by(Clients({CLIENT.public: "viewer"}))
    assert [knock(at, UNLISTED) for _ in range(3)] == [None] * 3
    clock.now += 10
    knock(at, b"", mechanism=b"NULL")
    refused = f"box:1 refused the client with the key {STRANGER.public}, which is not in allowed_clients,"
    assert caplog.messages == [
        f"{refused} from 192.0.2.7",
        "box:1 refused a client without a key from 192.0.2.7 (3 times since the last warning)",
    ]
    assert (at.let_in, at.refused) == ({}, 4)


def test_door_neither_counts_nor_logs_the_key_that_we_send_ourselves(caplog: pytest.LogCaptureFixture) -> None:
    at = Door("box:1")
    at.judge_by(Clients({}))
    at.throw_away = UNLISTED
    assert knock(at, UNLISTED) is None
    assert (at.refused, caplog.messages) == (0, [])
    knock(at, LISTED)
    assert at.refused == 1


def test_door_goes_on_counting_when_its_list_changes(access: AccessControl) -> None:
    before = access.admit("pub", "box:1", Clients({CLIENT.public: "viewer"}))
    knock(before, LISTED)
    after = access.admit("pub", "box:1", Clients({STRANGER.public: "other"}))
    assert [knock(after, LISTED), knock(after, UNLISTED)] == [None, "other"]
    assert (after.let_in, after.refused) == ({"viewer": 1, "other": 1}, 1)


class FailingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002  # the contract's
        raise RuntimeError("the log is broken")


def test_handler_goes_on_when_the_log_is_broken(
    context: "zmq.Context[zmq.Socket[bytes]]", access: AccessControl
) -> None:
    assert access._thread is not None
    log, failing = logging.getLogger("eis.msgbus.access"), FailingHandler()
    log.addHandler(failing)
    try:
        with asking(context) as asker:
            for _ in range(3):
                asker.send_multipart(question(b"pub", b"CURVE", UNLISTED))
                assert asker.recv_multipart()[2] == b"400"
    finally:
        log.removeHandler(failing)
    assert access._thread.is_alive()


def test_restart_begins_nothing_when_the_thread_lives_or_was_ended(access: AccessControl) -> None:
    thread = access._thread
    access.restart()
    assert access._thread is thread
    access.close()
    access.restart()
    assert not access.alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_restart_waits_when_the_place_of_the_dead_thread_is_taken(
    context: "zmq.Context[zmq.Socket[bytes]]", access: AccessControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise SystemExit

    assert access._thread is not None
    with monkeypatch.context() as patched, asking(context) as asker:
        patched.setattr(AccessControl, "_answer", die)
        asker.send_multipart(question(b"pub", b"CURVE", LISTED))
        access._thread.join(10)
    with context.socket(zmq.ROUTER) as other:

        def takes_the_place() -> bool:
            with contextlib.suppress(zmq.ZMQError):  # libzmq closes the one before in a thread of its own
                other.bind("inproc://zeromq.zap.01")
            return bool(other.last_endpoint)

        until(takes_the_place)
        access.restart()
        assert not access.alive

    def is_back() -> bool:
        access.restart()
        return access.alive

    until(is_back)
    with asking(context) as asker:
        asker.send_multipart(question(b"pub", b"CURVE", LISTED))
        assert asker.recv_multipart()[2] == b"200"
