"""C: programs that are killed or stopped, and those who go on."""

import json
import signal
import threading
import time
from collections.abc import Callable

import pytest

import eis.msgbus as mb
from tests.broker.conftest import Place
from tests.reliability.conftest import Effort, Record
from tests.reliability.figures import milliseconds
from tests.reliability.history import History
from tests.reliability.processes import PUBLISH, descriptors, kill, memory
from tests.reliability.streams import Make, flowing, taking
from tests.transports.zmq.conftest import Open, Start
from tests.transports.zmq.helpers import until

MIB = 2**20


# C1, C2: killed programs.


@pytest.mark.parametrize("mode", ["ipc", "ipc, shared frames", "tcp", "allow"])
def test_subscriber_goes_on_when_its_publisher_is_killed_again_and_again(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, history, times = make_sides(mode.partition(",")[0]), History(), []
    subscriber = opened(sides.client).new_subscriber("camera1")
    forms, attempts, frame = set(), effort(3, 50), {"frame": 200_000} if "shared" in mode else {}
    for _ in range(attempts):
        program = start(PUBLISH, {"bus": sides.server, "pause": 0.001, **frame})
        while history.take(envelope := subscriber.recv(20000))[0] != program.process.pid:
            pass
        times.append(time.monotonic() - envelope.meta_data["begun"])
        for _ in range(50):
            history.take(subscriber.recv(5000))
            forms.add(subscriber.stats.form)
        kill(program)
    seen = f"resumes {milliseconds(times)} after the socket listens; {history.lost} lost in {history.received:,}"
    record("C1", mode, attempts=attempts, failures=history.problems, seen=seen)
    assert max(times) < 5
    assert "shared" in forms or not frame


DIE = """
with mb.MsgbusContext(config) as bus:
    subscriber = bus.new_subscriber("camera1")
    subscriber.recv(20000)
    print("met", flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_publisher_and_others_do_not_notice_when_subscribers_are_killed(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, history, attempts = make_sides(mode), History(), effort(3, 50)
    publisher = start(PUBLISH, {"bus": sides.server, "pause": 0.002}).process.pid
    with opened(sides.client).new_subscriber("camera1") as subscriber, taking(subscriber, history):
        until(lambda: history.received > 100)  # by then all is open that stays so
        before = (descriptors(publisher), memory(publisher))
        for _ in range(attempts):
            doomed = start(DIE, sides.client)
            doomed.line("met")
            kill(doomed)
        until(lambda: descriptors(publisher) <= before[0])
        grown = (memory(publisher) - before[1]) / MIB
        until(lambda received=history.received: history.received > received)  # type: ignore[misc]
    failures = [*history.problems, *(["lost"] * history.lost)]
    record("C2", f"subscriber, {mode}", attempts=attempts, failures=failures, seen=f"descriptors +0, {grown:+.1f} MiB")
    assert grown < 5 + attempts / 10


HANG = """
with mb.MsgbusContext(config) as bus:
    service = bus.new_service("echo")
    for request in service:
        if request.meta_data["n"] < 0:
            print("got it", flush=True)
        else:
            service.response(request)
"""


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_requester_is_told_and_goes_on_when_its_service_is_killed_again_and_again(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, failures, told, attempts = make_sides(mode), [], [], effort(2, 40)
    requester = opened(sides.client).get_service("echo")
    for number in range(attempts):
        program = start(HANG, sides.server)
        reply = requester.request({"n": number}, timeout=20000).meta_data
        failures += [] if reply == {"n": number} else [reply]
        requester.request({"n": -1})
        program.line("got it")
        kill(program)
        killed = time.monotonic()
        with pytest.raises(mb.Disconnected):
            requester.recv(10000)
        told.append(time.monotonic() - killed)
    record("C2", f"service, {mode}", attempts=attempts, failures=failures, seen=f"told {milliseconds(told)} later")


BROKER = """
from eis.msgbus.broker import Broker, Settings, Side
with Broker(Settings(*(Side(name, config[name]) for name in ("frontend", "backend")))):
    print("listening", flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize("mode", ["ipc", "curve"])
def test_messages_flow_again_when_their_broker_was_killed_again_and_again(
    place: Callable[[str, str], Place], opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    at, history, times, attempts = place(mode, mode), History(), [], effort(2, 50)
    publisher = opened(at.publisher()).new_publisher("camera1")
    subscriber = opened(at.subscriber()).new_subscriber("camera1")
    with flowing(publisher), taking(subscriber, history):
        for _ in range(attempts):
            broker = start(BROKER, {name: at.side(name) for name in ("frontend", "backend")})
            broker.line("listening")
            begun, before = time.monotonic(), history.received
            until(lambda before=before: history.received > before + 20)  # type: ignore[misc]
            times.append(time.monotonic() - begun)
            kill(broker)
    seen = f"20 messages came {milliseconds(times)} after it listened"
    record("C2", f"broker, {mode}", attempts=attempts, failures=history.problems, seen=seen)


# C3: a subscriber that does not read.

STREAM = """
import time
from tests.reliability.processes import memory, peak
frame, stop, times = bytes(6_220_800), threading.Event(), []
with mb.MsgbusContext(config["bus"]) as bus:
    publisher = bus.new_publisher("camera1")
    publisher.wait_for_subscribers(1, 20000)
    publisher.publish(({"n": -1}, frame))
    before = memory(os.getpid())
    for number in range(config["frames"]):
        new = bytes(memoryview(frame))
        begun = time.perf_counter()
        publisher.publish(({"n": number}, new))
        times.append(time.perf_counter() - begun)
        if number == 20:
            print("stop it", flush=True)
        stop.wait(1 / 30)
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
    while not stop.wait(0.2):
        publisher.publish({"end": True})
    print(json.dumps([times, (peak(os.getpid()) - before) / 2**20]), flush=True)
"""
COUNT = """
received = 0
with mb.MsgbusContext(config) as bus:
    subscriber = bus.new_subscriber("camera1")
    for envelope in subscriber:
        if "end" in envelope.meta_data:
            break
        received += envelope.meta_data["n"] >= 0
    lost = subscriber.stats.lost
print(json.dumps([received, lost]), flush=True)
"""


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_publisher_does_not_wait_for_a_stopped_subscriber_and_counts_what_it_misses(
    make_sides: Make, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    stalls, seconds = effort(1, 8), 5.0 if effort.torture else 2.0
    frames, times, off, grown, lost, failures = 20 + round((seconds + 2) * 30), [], [], [], 0, []
    for _ in range(stalls):
        sides = make_sides(mode)
        publisher = start(STREAM, {"bus": sides.server, "frames": frames}, stdin=-1)
        subscriber = start(COUNT, sides.client)
        publisher.line("stop it")
        subscriber.process.send_signal(signal.SIGSTOP)
        threading.Event().wait(seconds)
        subscriber.process.send_signal(signal.SIGCONT)
        subscriber.ends(60)
        assert publisher.process.stdin is not None
        publisher.process.stdin.close()
        publisher.ends()
        received, counted = json.loads(subscriber._lines[-1])
        missed = frames - received
        took, memory_grown = json.loads(publisher._lines[-1])
        times += took
        grown.append(memory_grown)
        off.append(counted - missed)
        lost += missed
        failures += [f"{missed} lost, {counted} counted"] if missed != counted else []
    seen = (
        f"publish {milliseconds(times)}; memory {max(grown):+.0f} MiB; {lost} lost, "
        f"counted exactly {off.count(0)} of {stalls} times, else off by {max(map(abs, off))} at most"
    )
    record("C3", mode, attempts=stalls * frames, failures=failures, seen=seen)
    assert max(grown) < 1.2 * 64 + 70 + (16 * 6.3 if mode == "ipc" else 0)  # the slots of shared memory


# C4: stopped programs.


@pytest.mark.parametrize("mode", ["ipc", "allow"])
def test_publisher_that_is_stopped_is_stalled_and_connected_again_when_it_goes_on(
    make_sides: Make, opened: Open, start: Start, effort: Effort, record: Record, mode: str
) -> None:
    sides, history, times, attempts = make_sides(mode), History(), [], effort(2, 40)
    program = start(PUBLISH, {"bus": sides.server, "pause": 0.01})
    subscriber = opened(sides.client | {"stalled_after": 1000}).new_subscriber("camera1")
    with taking(subscriber, history):
        for _ in range(attempts):
            until(lambda: history.received and subscriber.status.state == "connected")
            program.process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            until(lambda: subscriber.status.state == "stalled")
            times.append(time.monotonic() - begun)
            program.process.send_signal(signal.SIGCONT)
    failures = [*history.problems, *(["lost"] * history.lost)]
    record("C4", mode, attempts=attempts, failures=failures, seen=f"stalled after {milliseconds(times)}")
    assert max(times) < 3
