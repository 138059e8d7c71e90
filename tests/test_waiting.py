"""Waiting, and the only clock: with channels that are nothing but a list and a descriptor."""

import asyncio
import importlib.util
import signal
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from eis.msgbus._channel import Channel, Closed, Counts
from eis.msgbus._status import LiveStatus
from eis.msgbus._waiting import Deadline, Spinning, Wakeup, blocking, poll, wait
from eis.msgbus._waiting.loops import Watch, give_way
from eis.msgbus._wire import Frames
from eis.msgbus.exceptions import MessageBusError
from tests.meeting import DEADLINE, threads, until


class ListChannel:
    """A channel whose messages the test puts there."""

    def __init__(self) -> None:
        self.wakeup, self.other = Wakeup(), Wakeup()
        self.messages: list[Any] = []
        self.attempts = 0
        self.waits = 0
        self.status = LiveStatus("connected")

    def put(self, message: Any) -> None:
        self.messages.append(message)
        self.wakeup.set()

    def attempt(self) -> Any:
        self.attempts += 1
        self.wakeup.clear()
        self.other.clear()
        return self.messages.pop(0) if self.messages else None

    def send(self, frames: Frames) -> None:
        self.put(frames)

    def receive(self) -> Sequence[Frames]:
        return [self.attempt()]

    def filenos(self) -> tuple[int, ...]:
        self.waits += 1
        return self.other.fileno(), self.wakeup.fileno()

    def wake(self) -> None:
        self.wakeup.set()

    def counts(self) -> Counts:
        return Counts()

    def close(self) -> None:
        self.wakeup.close()
        self.other.close()


@pytest.fixture
def channel() -> Iterator[ListChannel]:
    channel = ListChannel()
    yield channel
    channel.close()


def is_readable(wakeup: Wakeup) -> bool:
    return poll([wakeup.fileno()], 0)


# Wakeup


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def test_wakeup_is_quiet_when_new(wakeup: Wakeup) -> None:
    assert not is_readable(wakeup)


def test_wakeup_is_readable_when_set(wakeup: Wakeup) -> None:
    wakeup.set()
    assert is_readable(wakeup)


def test_wakeup_is_quiet_when_cleared_once_after_many_sets(wakeup: Wakeup) -> None:
    for _ in range(10_000):  # more than a socket's buffer would take without memory of the first
        wakeup.set()
    wakeup.clear()
    assert not is_readable(wakeup)


def test_wakeup_can_be_set_again_when_cleared(wakeup: Wakeup) -> None:
    for _ in range(3):
        wakeup.set()
        wakeup.clear()
    wakeup.set()
    assert is_readable(wakeup)


def test_wakeup_can_be_cleared_when_it_is_quiet(wakeup: Wakeup) -> None:
    wakeup.clear()
    assert not is_readable(wakeup)


def test_wakeup_takes_every_call_when_it_is_closed(wakeup: Wakeup) -> None:
    wakeup.set()
    wakeup.close()
    wakeup.set()
    wakeup.clear()
    wakeup.set()
    wakeup.close()
    assert wakeup.fileno() == -1


def test_wakeup_wakes_another_thread(wakeup: Wakeup) -> None:
    with threads() as pool:
        waiting = pool.submit(poll, [wakeup.fileno()], DEADLINE)
        wakeup.set()
        assert waiting.result(DEADLINE)


# Deadline


def test_deadline_without_limit_is_never_over() -> None:
    assert Deadline(None).left() is None


def test_deadline_has_all_its_time_when_new() -> None:
    left = Deadline(100).left()
    assert left is not None
    assert 50 < left <= 100


@pytest.mark.parametrize("seconds", [0, -1])
def test_deadline_is_over_and_never_below_zero(seconds: float) -> None:
    assert Deadline(seconds).left() == 0


# poll

Poll = Callable[[Sequence[int], float | None], bool]


@pytest.fixture(params=["here", "on Windows"])
def any_poll(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Poll:
    if request.param == "here":
        return poll
    monkeypatch.setattr(sys, "platform", "win32")
    spec = importlib.util.spec_from_file_location("waiting_on_windows", blocking.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "waiting_on_windows", module)  # where its dataclasses look for their names
    spec.loader.exec_module(module)
    windows: Poll = module.poll
    return windows


def test_poll_says_no_when_the_time_is_over(any_poll: Poll, wakeup: Wakeup) -> None:
    assert any_poll([wakeup.fileno()], 0.01) is False


def test_poll_says_yes_when_one_of_several_is_readable(any_poll: Poll, wakeup: Wakeup) -> None:
    quiet = Wakeup()
    wakeup.set()
    assert any_poll([quiet.fileno(), wakeup.fileno()], None) is True
    quiet.close()


@pytest.mark.parametrize("seconds", [10.0**7, 10.0**30, float("inf")])
def test_poll_waits_when_the_limit_is_longer_than_the_system_can_count(
    any_poll: Poll, wakeup: Wakeup, seconds: float
) -> None:
    wakeup.set()
    assert any_poll([wakeup.fileno()], seconds) is True


@pytest.mark.skipif(sys.platform == "win32", reason="it makes a poller for every wait")
def test_threads_wait_for_the_same_descriptors_at_once(wakeup: Wakeup) -> None:
    poll((wakeup.fileno(),), 0)  # whose poller is idle now
    with threads(2) as pool:
        waits = [pool.submit(poll, (wakeup.fileno(),), DEADLINE) for _ in range(2)]
        until(lambda: all(wait.running() for wait in waits))
        wakeup.set()
        assert [wait.result(DEADLINE) for wait in waits] == [True, True]


@pytest.mark.skipif(sys.platform == "win32", reason="it makes a poller for every wait")
def test_few_pollers_are_kept_when_many_descriptors_were_waited_for(wakeup: Wakeup) -> None:
    for count in range(1, 200):
        assert poll((wakeup.fileno(),) * count, 0) is False
    assert len(blocking._idle) <= 64


# Spinning


class Machine:
    """Descriptors, a clock and a processor that do as the test says: news come after `delay` seconds, if at all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.news = 0.0, float("inf")
        self.turn = 1e-6  # seconds of whoever else is to run
        self.sleeps = self.spins = 0
        monkeypatch.setattr(blocking, "poll", self.poll)
        monkeypatch.setattr(blocking, "time", types.SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(blocking, "_give_way", self.give_way)
        self.wait = Spinning()

    def poll(self, _: Sequence[int], seconds: float | None) -> bool:
        if seconds == 0:
            self.spins += 1
            return self.now >= self.news
        self.sleeps += 1
        assert seconds is not None
        self.now = min(max(self.now, self.news), self.now + seconds)
        return self.now >= self.news

    def give_way(self) -> None:
        self.now += self.turn

    def waits(self, count: int, delay: float) -> tuple[int, int]:
        """Wait so often; return in how many of them it slept, and in how many it did not."""
        before = self.sleeps
        for _ in range(count):
            self.news = self.now + delay
            self.wait((1,), 1.0)
        slept = self.sleeps - before
        return slept, count - slept


QUICK, SLOW = 50e-6, 0.01


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_wait_spins_after_some_were_short(machine: Machine) -> None:
    assert machine.waits(8, QUICK) == (8, 0)
    assert machine.waits(100, QUICK) == (0, 100)


def test_wait_never_spins_when_news_take_long(machine: Machine) -> None:
    assert machine.waits(100, SLOW) == (100, 0)
    assert machine.spins == 0


def test_wait_spins_once_in_vain_when_news_take_long_now(machine: Machine) -> None:
    machine.waits(20, QUICK)
    assert machine.waits(20, SLOW) == (20, 0)
    spins = machine.spins
    assert machine.waits(8, QUICK) == (8, 0)
    assert machine.spins == spins
    assert machine.waits(8, QUICK) == (0, 8)


def test_wait_sleeps_for_long_when_somebody_else_needs_the_processor(machine: Machine) -> None:
    machine.waits(8, QUICK)
    machine.turn = 3e-3
    machine.waits(1, SLOW)
    machine.turn = 1e-6
    assert machine.waits(2000, QUICK) == (2000, 0)
    assert machine.waits(20, QUICK) == (8, 12)


def test_wait_says_no_when_nothing_came_in_time_though_it_would_spin(machine: Machine) -> None:
    machine.waits(8, QUICK)
    machine.news = float("inf")
    assert machine.wait((1,), 0.5) is False


def test_wait_never_spins_when_the_system_cannot_give_way(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "_give_way", None)
    assert machine.waits(100, QUICK) == (100, 0)


# wait


def test_wait_returns_what_is_there_at_once(channel: ListChannel) -> None:
    channel.put("message")
    assert (wait(channel, channel.attempt, 0), channel.waits) == ("message", 0)


@pytest.mark.parametrize("result", [0, "", False, ()])
def test_wait_returns_a_result_that_is_not_none_though_it_is_false(channel: ListChannel, result: Any) -> None:
    channel.put(result)
    assert wait(channel, channel.attempt, None) == result


@pytest.mark.parametrize("seconds", [0, -1, 0.01])
def test_wait_returns_none_when_the_time_is_over(channel: ListChannel, seconds: float) -> None:
    assert wait(channel, channel.attempt, seconds) is None


def test_wait_does_not_poll_when_it_has_no_time(channel: ListChannel) -> None:
    assert (wait(channel, channel.attempt, 0), channel.attempts, channel.waits) == (None, 1, 0)


@pytest.mark.parametrize("seconds", [None, DEADLINE])
def test_wait_returns_what_comes_later(channel: ListChannel, seconds: float | None) -> None:
    with threads() as pool:
        waiting = pool.submit(wait, channel, channel.attempt, seconds)
        until(lambda: channel.waits)
        channel.put("late")
        assert waiting.result(DEADLINE) == "late"


def test_wait_goes_on_when_it_was_woken_for_nothing(channel: ListChannel) -> None:
    with threads() as pool:
        waiting = pool.submit(wait, channel, channel.attempt, None)
        until(lambda: channel.waits == 1)
        channel.wake()
        until(lambda: channel.waits == 2)
        assert not waiting.done()
        channel.put("late")
        assert waiting.result(DEADLINE) == "late"


def test_wait_raises_what_the_attempt_raises(channel: ListChannel) -> None:
    def attempt() -> None:
        raise Closed("closed")

    with pytest.raises(Closed):
        wait(channel, attempt, None)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers of signals here")
def test_wait_goes_on_when_a_signal_was_handled(channel: ListChannel) -> None:
    handled: list[int] = []

    def handle(*_: object) -> None:
        handled.append(1)
        if len(handled) == 3:
            channel.put("after three signals")

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        assert wait(channel, channel.attempt, DEADLINE) == "after three signals"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers of signals here")
def test_wait_ends_when_a_signal_handler_raises(channel: ListChannel) -> None:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(KeyboardInterrupt):
            wait(channel, channel.attempt, DEADLINE)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# wait_async


def test_wait_async_returns_what_is_there_without_giving_way(channel: ListChannel) -> None:
    async def main() -> Any:
        channel.put("message")
        return await Watch().wait_async(channel, channel.attempt), channel.waits

    assert asyncio.run(main()) == ("message", 0)


def test_wait_async_returns_what_comes_later(channel: ListChannel) -> None:
    async def main() -> Any:
        waiting = asyncio.create_task(Watch().wait_async(channel, channel.attempt))
        while not channel.waits:
            await give_way()
        channel.put("late")
        return await waiting

    assert asyncio.run(main()) == "late"


def test_wait_async_returns_once_when_both_descriptors_are_readable(channel: ListChannel) -> None:
    async def main() -> Any:
        waiting = asyncio.create_task(Watch().wait_async(channel, channel.attempt))
        while not channel.waits:
            await give_way()
        channel.other.set()
        channel.put("late")
        return await waiting

    assert asyncio.run(main()) == "late"


def test_wait_async_leaves_no_reader_and_takes_nothing_when_cancelled(channel: ListChannel) -> None:
    async def main() -> list[bool]:
        waiting = asyncio.create_task(Watch().wait_async(channel, channel.attempt))
        while not channel.waits:
            await give_way()
        channel.put("kept")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        loop = asyncio.get_running_loop()
        return [loop.remove_reader(fileno) for fileno in channel.filenos()]

    assert (asyncio.run(main()), channel.messages) == ([False, False], ["kept"])


def test_wait_async_says_what_to_do_when_the_loop_cannot_watch(
    channel: ListChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def main() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)  # as the proactor loop of Windows
        await Watch().wait_async(channel, channel.attempt)

    with pytest.raises(MessageBusError, match="this event loop cannot watch sockets; run it with asyncio"):
        asyncio.run(main())


def test_give_way_lets_the_other_tasks_run() -> None:
    async def main() -> list[str]:
        order: list[str] = []

        async def say(word: str, *, times: int) -> None:
            for _ in range(times):
                order.append(word)
                await give_way()

        await asyncio.gather(say("a", times=2), say("b", times=2))
        return order

    assert asyncio.run(main()) == ["a", "b", "a", "b"]


def test_give_way_can_be_cancelled() -> None:
    async def main() -> None:
        task = asyncio.create_task(give_way())
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# The words around it.


def test_counts_are_all_zero_when_new() -> None:
    assert Counts() == Counts(sent=0, received=0, dropped=0, refused=0, reconnects=0, clients={})


def test_closed_is_a_message_bus_error() -> None:
    assert issubclass(Closed, MessageBusError)


def test_channel_of_the_test_keeps_the_contract(channel: ListChannel) -> None:
    contract: Channel = channel
    contract.send([b"x"])
    assert contract.receive() == [[b"x"]]
