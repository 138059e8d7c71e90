"""Each process of the demo on its own; the test plays the others."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eis.msgbus import MsgbusContext, ReceiveTimeout
from eis.msgbus.tools.demo.children import Child
from eis.msgbus.tools.demo.detect import to_image
from eis.msgbus.tools.demo.messages import (
    FRAMES,
    LOST,
    RESULTS,
    SNAPSHOT,
    Defect,
    End,
    Frame,
    Progress,
    Result,
    to_frame,
    to_metadata,
    to_result,
)
from eis.msgbus.tools.demo.scene import read_counter
from eis.msgbus.tools.demo.settings import Options, Settings, for_each_role
from tests.tools.demo.samples import result

DEADLINE = 30
MS = 1000 * DEADLINE
SHAPE = (120, 160, 3)
"""A frame that is sent as a copy: sending without one starts a thread of pyzmq in the test's own process."""


@pytest.fixture
def told(tmp_path: Path, socket_dir: Path) -> dict[str, Settings]:
    return for_each_role(Options(seconds=0.2, output=str(tmp_path)), str(socket_dir))


@contextmanager
def playing(role: str, settings: Settings) -> Iterator[Child]:
    child = Child(role, settings)
    try:
        yield child
    finally:
        child.close()
        child.end(time.monotonic() + DEADLINE)


def frame(number: int, image: NDArray[np.uint8]) -> dict[str, object]:
    return to_metadata(
        Frame(
            img_handle="0123456789",
            width=image.shape[1],
            height=image.shape[0],
            channels=3,
            frame_number=number,
            sent_ns=time.monotonic_ns(),
            ingestion=Progress(number, number * image.nbytes, 0, 0),
        )
    )


def test_ingestion_publishes_numbered_frames_and_then_how_many(told: dict[str, Settings]) -> None:
    numbers = []
    with playing("ingestion", told["ingestion"]) as child, MsgbusContext(told["analytics"].frames) as bus:
        subscriber = bus.new_subscriber(FRAMES)
        while isinstance(message := to_frame((envelope := subscriber.recv(MS)).meta_data), Frame):
            assert read_counter(to_image(message, envelope.view)) == message.frame_number
            numbers.append(message.frame_number)
    assert numbers == [1, 2, 3, 4, 5, 6][: len(numbers)]  # all six, unless the machine stood still meanwhile
    assert message == End(len(numbers))
    assert child.status == 0


def test_ingestion_ends_early_but_properly_when_told_to_finish(told: dict[str, Settings], socket_dir: Path) -> None:
    endless = Settings(Options(), str(socket_dir), frames=told["ingestion"].frames)
    with playing("ingestion", endless) as child, MsgbusContext(told["analytics"].frames) as bus:
        subscriber = bus.new_subscriber(FRAMES)
        subscriber.recv(MS)
        child.tell(b"finish")
        count = 1
        while isinstance(message := to_frame(subscriber.recv(MS).meta_data), Frame):
            count += 1
    assert message == End(count)


def test_analytics_names_the_frame_when_one_is_missing(told: dict[str, Settings]) -> None:
    image = np.zeros(SHAPE, np.uint8)
    with (
        playing("analytics", told["analytics"]) as child,
        MsgbusContext(told["ingestion"].frames) as ours,
        MsgbusContext(told["viewer"].results) as theirs,
    ):
        subscriber, publisher = theirs.new_subscriber(RESULTS), ours.new_publisher(FRAMES)
        publisher.wait_for_subscribers(1, MS)
        for number in (1, 3):
            publisher.publish((frame(number, image), image))
        publisher.publish(to_metadata(End(4)))
        results = [to_result(subscriber.recv(MS).meta_data) for _ in range(3)]
    assert [each.frame_number for each in results if isinstance(each, Result)] == [1, 3]
    assert results[-1] == End(2, lost=2, missing="2, 4")
    assert child.status == 0


def test_analytics_answers_with_the_newest_frame_when_asked_for_a_snapshot(told: dict[str, Settings]) -> None:
    image = np.arange(np.prod(SHAPE), dtype=np.uint8).reshape(SHAPE)
    with (
        playing("analytics", told["analytics"]),
        MsgbusContext(told["ingestion"].frames) as ours,
        MsgbusContext(told["viewer"].results) as theirs,
    ):
        requester, subscriber = theirs.get_service(SNAPSHOT), theirs.new_subscriber(RESULTS)
        assert requester.request({}, timeout=MS).meta_data == {"error": "no frame yet"}
        publisher = ours.new_publisher(FRAMES)
        publisher.wait_for_subscribers(1, MS)
        publisher.publish((frame(1, image), image))
        published = to_result(subscriber.recv(MS).meta_data)
        answer = requester.request({}, timeout=MS)
    assert isinstance(published, Result)
    assert to_result(answer.meta_data) == published
    assert np.array_equal(to_image(published, answer.view), image)


def test_analytics_fails_with_a_word_when_a_frame_is_cut(
    told: dict[str, Settings], capfd: pytest.CaptureFixture[str]
) -> None:
    image = np.zeros(SHAPE, np.uint8)
    with (
        playing("analytics", told["analytics"]) as child,
        MsgbusContext(told["ingestion"].frames) as ours,
        MsgbusContext(told["viewer"].results) as theirs,
        theirs.new_subscriber(RESULTS),
    ):
        publisher = ours.new_publisher(FRAMES)
        publisher.wait_for_subscribers(1, MS)
        publisher.publish((frame(1, image), b"cut"))
        assert child.process.wait(DEADLINE) == 1
    assert capfd.readouterr().err == "msgbus demo: analytics: frame 1: expected 120 x 160 x 3 bytes, got 3\n"


DEFECTS = (Defect(tl=(40, 40), br=(90, 90), type=0),)


@contextmanager
def viewed(told: dict[str, Settings], *messages: Result | End) -> Iterator[Child]:
    """A viewer that gets those messages, and a snapshot whenever it asks."""
    image = np.zeros(SHAPE, np.uint8)
    with playing("viewer", told["viewer"]) as child, MsgbusContext(told["analytics"].results) as bus:
        service, publisher = bus.new_service(SNAPSHOT), bus.new_publisher(RESULTS)
        publisher.wait_for_subscribers(1, MS)
        for message in messages:
            publisher.publish(to_metadata(message))
        while child.status is None:
            with suppress(ReceiveTimeout):
                service.recv(50)
                service.response((to_metadata(result(1, shape=SHAPE, defects=DEFECTS)), image))
        yield child


def test_the_viewer_leaves_a_picture_and_tables_when_everything_arrived(
    told: dict[str, Settings], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with viewed(told, result(1), result(2, at_ms=40), End(2)) as child:
        pass
    assert child.status == 0
    with Image.open(tmp_path / "frame.png") as picture:
        assert picture.size == (160, 120)
        assert picture.getpixel((40, 89)) == (70, 220, 130)
    assert "nothing lost: 2 frames, 2 results" in (tmp_path / "table.txt").read_text()
    assert json.loads((tmp_path / "table.json").read_text())["lost"] == 0
    assert "nothing lost: 2 frames, 2 results" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("messages", "verdict"),
    [
        ((result(1), result(3), End(3)), "LOST: 0 frames, 1 results"),
        ((result(1), End(2)), "LOST: 0 frames, 1 results"),
        ((result(1), result(3, counted=2), End(2, 1, "2")), "LOST: 1 frames (number 2), 0 results"),
    ],
    ids=["a result in the middle", "the last result", "a frame"],
)
def test_the_viewer_says_so_when_something_is_lost(
    told: dict[str, Settings], tmp_path: Path, messages: tuple[Result | End, ...], verdict: str
) -> None:
    with viewed(told, *messages) as child:
        pass
    assert child.status == LOST
    assert child.complaint() == "viewer missed something: see its table"
    assert verdict in (tmp_path / "table.txt").read_text()


@pytest.mark.parametrize("role", ["ingestion", "analytics", "viewer"])
def test_a_process_ends_and_tidies_up_when_its_parent_is_gone(
    told: dict[str, Settings], socket_dir: Path, role: str, capfd: pytest.CaptureFixture[str]
) -> None:
    child = Child(role, told[role])
    assert child.process.stdin is not None
    child.process.stdin.close()
    child.end(time.monotonic() + DEADLINE)
    assert child.status == 0
    assert not socket_dir.exists()
    assert capfd.readouterr().err == ""
    socket_dir.mkdir()  # for the fixture, which removes it
