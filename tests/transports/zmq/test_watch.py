"""What a watch makes of each event, with literals; no sockets."""

import dataclasses
import errno
import logging

import pytest
import zmq

from eis.msgbus.exceptions import MessageBusAuthenticationFailed
from eis.msgbus.transports.zmq import pulse
from eis.msgbus.transports.zmq import watch as watch_module
from eis.msgbus.transports.zmq.plan import Plan
from eis.msgbus.transports.zmq.watch import (
    ABANDONED,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_WAIT,
    MISMATCH,
    NEXT_TRY,
    Watch,
)
from tests.transports.zmq.helpers import Clock

OK, LOST, CLOSED = zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED
AGAIN, CONNECTED = zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_CONNECTED
AUTH, PROTOCOL = zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
BROKEN_OFF = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


@dataclasses.dataclass
class FakeLink:
    """Remember what the watch says; it is as a link to the watch."""

    plan: Plan
    said: list[str] = dataclasses.field(default_factory=list)
    failed: int = 0
    up: bool = False
    broken_off: int = 0
    turn: int = 0
    fault: Exception | None = None
    taken: int | None = 0
    touched: int = 0
    tell_at: float | None = None
    door: object | None = None

    class listening:  # noqa: N801  # as an attribute
        endpoint = ""

    class unbound:  # noqa: N801  # as an attribute
        was_set = False

        @classmethod
        def set(cls) -> None:
            cls.was_set = True

    @property
    def owner(self) -> "FakeLink":
        return self

    def progress(self) -> int | None:
        return self.taken

    def touch(self) -> None:
        self.touched += 1

    def resume(self) -> None:
        self.said.append("resume")

    def beat(self, *, alive: bool) -> None:
        self.said.append("alive" if alive else "stalled")

    def unreachable(self) -> None:
        self.said.append("unreachable")

    def connected(self) -> None:
        self.said.append("connected")

    def disconnected(self) -> None:
        self.said.append("disconnected")

    def hold_off(self) -> None:
        self.said.append("hold off")

    def connect_anew(self) -> None:
        self.said.append("connect anew")

    def reload(self, plan: Plan) -> None:
        raise OSError(plan.endpoint)

    def tell(self) -> None:
        self.said.append("tell")
        self.tell_at = None

    def refuse(self, fault: Exception) -> None:
        self.said.append("refuse")
        self.fault = fault


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch_module, "time", clock)
    monkeypatch.setattr(pulse, "time", clock)
    return clock


def watching(
    bind: bool = False, keys: int = 1, retries: int = 0, kind: int = zmq.SUB, stalled_after: int | None = None
) -> tuple[Watch, FakeLink]:
    plan = Plan(
        kind,
        "tcp://box:5555",
        bind,
        (),
        credentials=((),) * keys,
        connect_retries=retries,
        stalled_after=stalled_after,
    )
    link = FakeLink(plan)
    return Watch(link), link  # type: ignore[arg-type]  # a fake


def due_in(watch: Watch, clock: Clock) -> float:
    assert watch.due is not None
    return watch.due - clock.now


def test_nothing_is_due_when_the_handshake_succeeds(clock: Clock) -> None:
    watch, link = watching()
    watch.due = clock.now
    watch.handle(OK, 0)
    assert watch.due is None
    assert link.said == ["connected"]


def test_connection_whose_bytes_were_changed_is_lost_and_made_anew(clock: Clock) -> None:
    watch, link = watching()
    watch.handle(OK, 0)
    link.up = True
    watch.handle(PROTOCOL, 0x10000001)
    assert 0 < due_in(watch, clock) <= ABANDONED
    assert link.said == ["connected", "disconnected"]
    assert link.fault is None


def test_connection_is_made_anew_when_libzmq_does_not_begin_again(clock: Clock) -> None:
    watch, link = watching()
    watch.handle(LOST, 5)
    assert 0.5 * ABANDONED <= due_in(watch, clock) <= ABANDONED
    watch.act_if_due()
    assert link.said == ["disconnected"]
    clock.now += ABANDONED
    watch.act_if_due()
    assert watch.due is None
    assert link.said == ["disconnected", "connect anew"]


def test_request_goes_out_again_soon_when_a_handshake_failed(clock: Clock) -> None:
    watch, link = watching(kind=zmq.REQ)
    watch.handle(LOST, 5)
    watch.handle(AGAIN, 100)
    assert due_in(watch, clock) == pytest.approx(NEXT_TRY)
    clock.now += NEXT_TRY
    watch.act_if_due()
    assert link.said == ["disconnected", "hold off", "connect anew"]


def test_request_does_not_go_out_again_when_its_connection_was_lost(clock: Clock) -> None:
    watch, link = watching(kind=zmq.REQ)
    link.up = True
    watch.handle(LOST, 5)
    assert 0.5 * ABANDONED <= due_in(watch, clock) <= ABANDONED
    assert link.said == ["disconnected"]


@pytest.mark.parametrize("event", [AGAIN, CONNECTED, OK])
def test_nothing_is_due_when_libzmq_begins_again(event: int) -> None:
    watch, _ = watching()
    watch.handle(LOST, 5)
    watch.handle(event, 5)
    assert watch.due is None


def test_listening_link_never_connects() -> None:
    watch, link = watching(bind=True)
    watch.handle(LOST, 5)
    assert (watch.due, link.said) == (None, ["disconnected"])


@pytest.mark.parametrize(("door", "said"), [(None, ["resume"]), ("guarded", [])])
def test_link_learns_that_its_address_is_free_and_listens_again_unless_somebody_else_says_when(
    door: str | None, said: list[str]
) -> None:
    watch, link = watching(bind=True)
    link.door = door
    watch.handle(CLOSED, 5)
    watch.act_if_due()
    assert link.unbound.was_set
    assert link.said == said


def test_link_learns_that_nobody_is_there() -> None:
    watch, link = watching()
    watch.handle(CLOSED, 5)
    assert link.said == ["unreachable"]
    watch.handle(AUTH, 400)
    watch.handle(CLOSED, 5)  # of the connection that was taken away
    assert link.said == ["unreachable", "hold off", "refuse"]


def steps(watch: Watch, clock: Clock, count: int) -> None:
    """Let so many looks pass."""
    for _ in range(count):
        assert watch.next is not None
        clock.now = watch.next
        watch.act_if_due()


def test_connection_is_stalled_when_no_message_comes_and_alive_with_the_next(clock: Clock) -> None:
    watch, link = watching(stalled_after=1000)
    begun = clock.now
    watch.handle(OK, 0)
    while link.said[-1] != "stalled":
        steps(watch, clock, 1)
    assert clock.now - begun == pytest.approx(1.2)
    link.taken = 1
    steps(watch, clock, 1)
    assert link.said[-1] == "alive"


def test_connection_is_alive_while_messages_wait_to_be_taken(clock: Clock) -> None:
    watch, link = watching(stalled_after=1000)
    link.taken = None
    watch.handle(OK, 0)
    steps(watch, clock, 20)
    assert set(link.said) == {"connected", "alive"}


def test_nothing_is_looked_at_when_the_connection_is_lost() -> None:
    watch, _ = watching(stalled_after=1000)
    watch.handle(OK, 0)
    watch.handle(LOST, 5)
    watch.handle(AGAIN, 100)
    assert watch.next is None


def test_looks_are_not_closer_than_a_thread_can_follow(clock: Clock) -> None:
    watch, _ = watching(stalled_after=1)
    watch.handle(OK, 0)
    assert watch.next == pytest.approx(clock.now + 0.005)


def test_event_of_no_interest_changes_nothing() -> None:
    watch, link = watching()
    watch.handle(zmq.EVENT_LISTENING, 5)
    assert (watch.due, link.said) == (None, [])


def test_file_that_may_not_be_reached_is_told_once_until_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, link = watching()
    reasons = iter(["no right", "no right", "no right to enter", "", "no right to enter"])
    monkeypatch.setattr(watch_module, "_forbidden", lambda _: next(reasons))
    for _ in range(5):
        watch.handle(zmq.EVENT_CLOSED, 5)
    assert link.said == ["refuse", "refuse", "unreachable", "refuse"]
    assert (type(link.fault), str(link.fault)) == (MessageBusAuthenticationFailed, "no right to enter")


def test_connection_is_made_anew_after_so_many_retries(clock: Clock) -> None:
    watch, _ = watching(retries=2)
    watch.handle(AGAIN, 100)
    assert watch.due is None
    watch.handle(AGAIN, 100)
    assert due_in(watch, clock) == 0
    watch.handle(OK, 0)
    watch.handle(AGAIN, 100)
    assert watch.due is None


def test_connection_is_never_made_anew_without_a_limit() -> None:
    watch, _ = watching(retries=0)
    for _ in range(100):
        watch.handle(AGAIN, 100)
    assert watch.due is None


@pytest.mark.parametrize(
    ("event", "value", "keys", "reason"),
    [
        (AUTH, 400, True, "its key is not among the server's allowed_clients (ZAP status 400)"),
        (AUTH, 400, False, "its user is not let in (ZAP status 400)"),
        (AUTH, 500, True, "its access control has an error (ZAP status 500)"),
        (PROTOCOL, MISMATCH, True, "this client encrypts, the server does not"),
        (PROTOCOL, MISMATCH, False, "this client does not encrypt, the server does"),
        (PROTOCOL, 0x10000018, False, "the handshake broke the protocol (0x10000018)"),
    ],
)
def test_refusal_is_told_with_its_reason(clock: Clock, event: int, value: int, keys: bool, reason: str) -> None:
    watch, link = watching(keys=keys)
    watch.handle(event, value)
    assert link.said == ["hold off", "refuse"]
    assert isinstance(link.fault, MessageBusAuthenticationFailed)
    assert reason in str(link.fault)
    assert str(link.fault).startswith("box:5555 refused this client: ")
    assert 0.5 * FIRST_PAUSE <= due_in(watch, clock) <= FIRST_PAUSE


@pytest.mark.parametrize(
    ("event", "value", "longest"), [(AUTH, 400, LONGEST_PAUSE), (PROTOCOL, MISMATCH, LONGEST_WAIT)]
)
def test_pause_grows_to_its_limit_while_refusals_go_on(clock: Clock, event: int, value: int, longest: float) -> None:
    watch, _ = watching()
    pauses = []
    for _ in range(20):
        watch.handle(event, value)
        pauses.append(due_in(watch, clock))
        watch.handle(LOST, 5)
        watch.handle(AGAIN, 100)
        watch.handle(CONNECTED, 5)
        assert due_in(watch, clock) == pauses[-1]
        steps(watch, clock, 1)
    assert pauses[0] <= FIRST_PAUSE
    assert 0.5 * longest <= pauses[-1] <= longest


@pytest.mark.parametrize("event", [OK, AUTH, LOST, AGAIN, CONNECTED, CLOSED, BROKEN_OFF])
def test_what_a_connection_still_tells_that_was_taken_away_changes_nothing(clock: Clock, event: int) -> None:
    watch, link = watching()
    watch.handle(PROTOCOL, MISMATCH)
    pause = due_in(watch, clock)
    for _ in range(4):
        watch.handle(event, errno.EPIPE)
    assert due_in(watch, clock) == pause
    assert (link.said, link.touched) == (["hold off", "refuse"], 4)
    steps(watch, clock, 1)
    watch.handle(OK, 0)
    assert link.said == ["hold off", "refuse", "connect anew", "connected"]


def test_broken_handshakes_are_a_refusal_after_three() -> None:
    watch, link = watching()
    for value in (errno.EPIPE, errno.ECONNRESET):
        watch.handle(BROKEN_OFF, value)
    assert link.said == []
    watch.handle(BROKEN_OFF, errno.EPIPE)
    assert link.said == ["hold off", "refuse"]
    assert "it breaks the handshake off: server_public_key is another server's" in str(link.fault)
    assert link.broken_off == 0


def test_every_key_of_the_server_is_tried_in_turn_before_it_is_a_refusal(clock: Clock) -> None:
    watch, link = watching(keys=2)
    for turn in range(1, 6):
        watch.handle(BROKEN_OFF, errno.EPIPE)
        assert due_in(watch, clock) == pytest.approx(NEXT_TRY)
        clock.now += NEXT_TRY
        watch.act_if_due()
        assert (link.turn, link.said) == (turn, ["hold off", "connect anew"] * turn)
    watch.handle(BROKEN_OFF, errno.EPIPE)
    assert (link.turn, link.said[-2:]) == (6, ["hold off", "refuse"])
    assert due_in(watch, clock) >= 0.5 * FIRST_PAUSE


@pytest.mark.parametrize(("keys", "value"), [(False, errno.EPIPE), (True, errno.EAGAIN)])
def test_broken_handshakes_are_no_refusal(keys: bool, value: int) -> None:
    watch, link = watching(keys=keys)
    for _ in range(10):
        watch.handle(BROKEN_OFF, value)
    assert link.said == []


def test_failed_clients_are_counted_and_logged_now_and_then(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    watch, link = watching(bind=True)
    watch.handle(AUTH, 500)
    watch.handle(PROTOCOL, 0x11000001)
    assert (link.failed, watch.due, link.said) == (2, None, [])
    assert [record.message for record in caplog.records] == [
        "a client did not get in at box:5555: access control failed (ZAP status 500)"
    ]
    clock.now += 10
    watch.handle(PROTOCOL, 0x10000013)
    assert caplog.records[-1].message == "a client did not get in at box:5555: handshake failed (0x10000013)"


@pytest.mark.parametrize(
    ("event", "value", "reason"),
    [
        (PROTOCOL, 0x11000001, "its server_public_key is not this server's"),
        (PROTOCOL, 0x11000002, "only one of the two encrypts: the keys belong in both configurations or in none"),
        (BROKEN_OFF, errno.EPIPE, "its connection ended before the handshake was done (Broken pipe)"),
    ],
)
def test_server_says_what_is_wrong_with_a_client(
    caplog: pytest.LogCaptureFixture, event: int, value: int, reason: str
) -> None:
    watch, _link = watching(bind=True)
    watch.handle(event, value)
    assert [record.message for record in caplog.records] == [f"a client did not get in at box:5555: {reason}"]


def test_client_that_is_not_listed_is_left_to_the_access_control(caplog: pytest.LogCaptureFixture) -> None:
    watch, link = watching(bind=True)
    watch.handle(AUTH, 400)
    assert (link.failed, caplog.records) == (0, [])


def test_error_in_one_event_is_logged_and_the_next_is_handled(caplog: pytest.LogCaptureFixture) -> None:
    watch, link = watching()
    link.connected = None  # type: ignore[assignment,method-assign]  # breaks the next call
    with caplog.at_level(logging.ERROR):
        watch.take(OK, 0)
    assert "cannot handle an event of box:5555" in caplog.text
    watch.take(LOST, 5)
    assert link.said == ["disconnected"]


def test_reload_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    watch, link = watching()
    watch.handle(AUTH, 400)
    watch.reload(link.plan)
    assert watch.due is None
    assert caplog.records[-1].message == "cannot reload box:5555"


def test_who_was_busy_is_told_when_it_is_time(clock: Clock) -> None:
    watch, link = watching(bind=True)
    link.tell_at = clock.now + 0.02
    assert watch.next == link.tell_at
    watch.act_if_due()
    assert not link.said
    clock.now += 0.02
    watch.act_if_due()
    assert link.said == ["tell"]
    assert link.tell_at is None
