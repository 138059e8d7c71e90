"""What an event of a link's connections means: a refusal, a loss, a connection. For the supervisor's thread only.

libzmq abandons an address for good after a refused key, another security mechanism, or garbage from the port (its issue
4196): the address is taken away from the socket and given back, after a pause that grows.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import zmq

from eis.msgbus.exceptions import MessageBusAuthenticationFailed
from eis.msgbus.transports.zmq.descriptors import Alarm
from eis.msgbus.transports.zmq.pulse import Pulse

if TYPE_CHECKING:
    from eis.msgbus.transports.zmq.plan import Plan
    from eis.msgbus.transports.zmq.supervised import Supervised

__all__ = ["EVENTS", "Watch"]

_log = logging.getLogger("eis.msgbus.zmq")

_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_FAILURES |= zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
EVENTS = int(
    _FAILURES
    | zmq.EVENT_ACCEPTED
    | zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_MONITOR_STOPPED
)

FIRST_PAUSE, LONGEST_PAUSE = 0.4, 5.0  # seconds before a refused client tries again; doubled each time, half by chance
LONGEST_WAIT = 1.5  # seconds, where it is not the access control that refuses: another program may have the port
ABANDONED = 0.5  # seconds after a loss in which libzmq begins to connect again, if it does (reconnect interval 0.1)
NEXT_TRY = 0.1  # seconds before a request goes out again after a handshake that failed
BROKEN_OFF = 3  # handshakes in a row that the server broke off: more than a restart explains
_SETTLING, _BETWEEN_TOUCHES = 1.0, 0.02  # seconds
MISMATCH = 0x11000002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
_CRYPTOGRAPHIC = 0x11000001  # ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
NOT_LISTED = 400  # the access control's answer to who is not on the list
_BROKEN_OFF = (
    "it breaks the handshake off: server_public_key is another server's, the client's keys are no pair, "
    "or the server does not encrypt"
)
_MISTAKES_OF_CLIENTS = {
    MISMATCH: "only one of the two encrypts: the keys belong in both configurations or in none",
    _CRYPTOGRAPHIC: "its server_public_key is not this server's",
}
_WARN_EVERY = 10.0  # seconds between two warnings about one listening link


class Watch:
    """Keep the state of a link's connections, and decide what an event means. For the supervisor's thread only."""

    def __init__(self, link: Supervised) -> None:
        self.link = link
        self.due: float | None = None  # when to connect anew
        self._held = False  # the address is taken away from the socket; what is told meanwhile is of the time before
        self._refusals = 0
        self._failed_connects = 0
        self._forbidden = ""  # why this user may not even connect, as it was told
        self._warned = float("-inf")
        self._alarm = Alarm()
        self._settled = 0.0  # when every connection that was cut has ended, for all we know
        self._touch_at: float | None = None  # when to go on with a cut
        self._pulse = Pulse((link.plan.stalled_after or 0) / 1000, link.owner.progress)
        self._turns: dict[int, Callable[[], None]] = {
            zmq.EVENT_HANDSHAKE_SUCCEEDED: self._begun,
            zmq.EVENT_DISCONNECTED: self._disconnected,
            zmq.EVENT_CONNECTED: self._reached,
            zmq.EVENT_CONNECT_RETRIED: self._retried,
            zmq.EVENT_CLOSED: self._closed,
        }

    def take(self, event: int, value: int) -> None:
        """Handle one event; whatever goes wrong with one link, the thread goes on with the others."""
        try:
            self.handle(event, value)
        except Exception:  # noqa: BLE001  # it is logged, and the thread lives on
            _log.exception("cannot handle an event of %s", self.link.plan.address)

    def handle(self, event: int, value: int) -> None:
        """Handle one event of the socket, as zmq_socket_monitor documents it."""
        if self._held:
            self.link.touch()
        elif event & _FAILURES:
            self._failed(event, value)
        elif event == zmq.EVENT_ACCEPTED:
            self._alarm.look(value, self.link.plan.address)
        elif event in self._turns:
            self._turns[event]()

    def reload(self, plan: Plan) -> None:
        """Go on with other keys and another list."""
        self._refusals, self.due, self._held = 0, None, False
        try:
            self.link.reload(plan)
        except Exception:  # noqa: BLE001  # as in `take`
            _log.exception("cannot reload %s", plan.address)
        if plan.bind:
            self._expect_to_listen()

    def _expect_to_listen(self) -> None:
        """Go on with a cut, whatever it was for, until the link listens again and its connections have ended."""
        self._settled = time.monotonic() + _SETTLING
        self._touch_at = time.monotonic()

    def _begun(self) -> None:
        self._refusals = self._failed_connects = 0
        self._forbidden = ""
        self.due = None
        self.link.connected()
        if self.link.plan.stalled_after is not None:
            self._pulse.begin()

    def _reached(self) -> None:
        self.due = None

    def _closed(self) -> None:
        """Learn that an address is free, or that a connect failed."""
        if self.link.plan.bind:
            self.link.unbound.set()
            if self.link.door is None:  # else the watchdog says when
                self._expect_to_listen()
            return
        before, self._forbidden = self._forbidden, _forbidden(self.link.plan.file)
        if not self._forbidden:
            self.link.unreachable()
        elif self._forbidden != before:  # libzmq tries again several times a second
            self._warn("%s", self._forbidden)
            self.link.refuse(MessageBusAuthenticationFailed(self._forbidden))

    def _disconnected(self) -> None:
        """Expect libzmq to connect again, or connect anew: a request may have gone to a stranger, as ZMTP 1.0."""
        self._pulse.end()
        stranger = self.link.plan.kind == zmq.REQ and not self.link.up
        self.link.disconnected()
        if self.link.plan.bind or self.due is not None:
            return
        if stranger:
            self._hold_off(NEXT_TRY)
        else:
            self.due = time.monotonic() + _by_chance(ABANDONED)

    def _hold_off(self, pause: float) -> None:
        self.link.hold_off()
        self._held = True
        self.due = time.monotonic() + pause

    def _retried(self) -> None:
        """See libzmq connect again by itself, so that there is nothing to do until `connect_retries` have failed."""
        self.due = None
        self._failed_connects += 1
        if self.link.plan.connect_retries and self._failed_connects >= self.link.plan.connect_retries:
            self._failed_connects = 0
            self.due = time.monotonic()

    def _failed(self, event: int, value: int) -> None:
        if self.link.plan.bind:
            self._client_failed(event, value)
            return
        if self.link.up:  # its handshake was done long ago: bytes were changed or lost on their way
            self._disconnected()
            return
        if reason := self._reason(event, value):
            self._refusals += 1
            longest = LONGEST_PAUSE if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH else LONGEST_WAIT
            self._hold_off(_by_chance(min(longest, FIRST_PAUSE * 2.0 ** min(self._refusals - 1, 8))))
            text = f"{self.link.plan.address} refused this client: {reason}"
            self._warn("%s", text)
            self.link.refuse(MessageBusAuthenticationFailed(text))
        elif self.link.broken_off and len(self.link.plan.credentials) > 1:
            self._hold_off(NEXT_TRY)  # with the next of the server's keys

    def _client_failed(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and value == NOT_LISTED:
            return  # the access control has counted it, and logged who it was
        self.link.failed += 1
        self._warn("a client did not get in at %s: %s", self.link.plan.address, _reason_of_client(event, value))

    def _reason(self, event: int, value: int) -> str:
        """Return why the server refused us, empty while it may be no refusal."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return f"{self._judgement(value)} (ZAP status {value})"
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == MISMATCH:
            mine, its = ("encrypts", "does not") if self.link.plan.keys else ("does not encrypt", "does")
            return f"this client {mine}, the server {its}: the keys belong in both configurations or in none"
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return f"the handshake broke the protocol (0x{value:08x})"
        if not self.link.plan.keys or value not in (errno.EPIPE, errno.ECONNRESET):
            return ""
        self.link.broken_off += 1
        self.link.turn += 1
        if self.link.broken_off < BROKEN_OFF * len(self.link.plan.credentials):
            return ""
        self.link.broken_off = 0
        return _BROKEN_OFF

    def _judgement(self, status: int) -> str:
        if status != NOT_LISTED:
            return "its access control has an error"
        if sys.platform != "win32" and self.link.plan.file is not None:
            from eis.msgbus.transports.zmq.accounts import user_name  # needs Unix

            me = os.geteuid()
            return f"its user {user_name(me)} (uid {me}) is neither in allowed_users nor in a group of allowed_groups"
        return "its key is not among the server's allowed_clients" if self.link.plan.keys else "its user is not let in"

    def _warn(self, text: str, *facts: object) -> None:
        if time.monotonic() - self._warned >= _WARN_EVERY:
            self._warned = time.monotonic()
            _log.warning(text, *facts)

    @property
    def next(self) -> float | None:
        """Return when `act_if_due` has something to do."""
        times = [due for due in (self.due, self._pulse.due, self._touch_at, self.link.tell_at) if due is not None]
        return min(times, default=None)

    def act_if_due(self) -> None:
        """Connect anew, and look whether messages come, when it is time; as in `take`, the thread lives on."""
        try:
            self._act_if_due()
        except Exception:  # noqa: BLE001
            self._touch_at = time.monotonic() + _SETTLING
            _log.exception("cannot look after %s", self.link.plan.address)

    def _act_if_due(self) -> None:
        now = time.monotonic()
        if self.due is not None and now >= self.due:
            self.due, self._held = None, False
            self.link.connect_anew()
        if self._pulse.due is not None and now >= self._pulse.due:
            self.link.beat(alive=self._pulse.look())
        if self.link.tell_at is not None and now >= self.link.tell_at:
            self.link.tell()
        if self._touch_at is not None and now >= self._touch_at:
            self.link.touch()
            if self.link.door is None:  # else the watchdog says when
                self.link.resume()
            settled = self.link.listening.endpoint and now >= self._settled
            self._touch_at = None if settled else now + _BETWEEN_TOUCHES


def _by_chance(seconds: float) -> float:
    """Return so long, or down to half of it: clients that were cut together do not come back together."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311  # is no secret


def _forbidden(file: str | None) -> str:
    """Return why this user may not connect to a socket file: to libzmq it is as if nobody was there."""
    if sys.platform != "win32" and file is not None:
        from eis.msgbus.transports.zmq.permission import forbidden  # needs Unix

        return forbidden(file)
    return ""


def _reason_of_client(event: int, value: int) -> str:
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return f"access control failed (ZAP status {value})"
    if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return f"its connection ended before the handshake was done ({zmq.strerror(value)})"
    return _MISTAKES_OF_CLIENTS.get(value, f"handshake failed (0x{value:08x})")
