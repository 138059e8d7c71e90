import os
from collections.abc import Callable, Iterator

import pytest

from eis.msgbus import ReceiveTimeout
from eis.msgbus.tools.demo.control import AbortedError, Control, DemoError, read_lines

DEADLINE = 10


class Parent:
    """The other end of a child's pipe."""

    def __init__(self, sink: int) -> None:
        self._sink = sink

    def says(self, text: bytes) -> None:
        os.write(self._sink, text)

    def is_gone(self) -> None:
        if self._sink >= 0:
            os.close(self._sink)
            self._sink = -1


@pytest.fixture
def pipe() -> Iterator[tuple[int, Parent]]:
    source, sink = os.pipe()
    parent = Parent(sink)
    yield source, parent
    parent.is_gone()
    os.close(source)


@pytest.fixture
def parent_and_control(pipe: tuple[int, Parent]) -> Iterator[tuple[Parent, Control]]:
    source, parent = pipe
    control = Control(read_lines(source))
    yield parent, control
    parent.is_gone()
    assert control.ended.wait(DEADLINE)


Pair = tuple[Parent, Control]


def test_lines_are_whole_when_they_come_in_pieces(pipe: tuple[int, Parent]) -> None:
    source, parent = pipe
    lines = read_lines(source)
    parent.says(b'{"a": 1}\nfin')
    assert next(lines) == b'{"a": 1}'
    parent.says(b"ish\nend\n")
    assert [next(lines), next(lines)] == [b"finish", b"end"]


def test_lines_end_when_the_pipe_does(pipe: tuple[int, Parent]) -> None:
    source, parent = pipe
    parent.says(b"half a line")
    parent.is_gone()
    assert list(read_lines(source)) == []


def test_only_frames_end_when_the_parent_says_finish(parent_and_control: Pair) -> None:
    parent, control = parent_and_control
    parent.says(b"finish\n")
    assert control.finishing.wait(DEADLINE)
    assert not control.ended.is_set()


def test_everything_ends_when_the_parent_says_end(parent_and_control: Pair) -> None:
    parent, control = parent_and_control
    parent.says(b"end\n")
    control.wait_for_end(DEADLINE)
    assert (control.finishing.is_set(), control.orphaned) == (True, False)


def test_the_process_is_orphaned_when_the_parent_is_gone_without_a_word(parent_and_control: Pair) -> None:
    parent, control = parent_and_control
    parent.is_gone()
    control.wait_for_end(DEADLINE)
    assert (control.finishing.is_set(), control.orphaned) == (True, True)


def test_waiting_for_the_end_is_given_up_when_it_takes_too_long(parent_and_control: Pair) -> None:
    with pytest.raises(DemoError, match=r"^not told to end within 0.01 s$"):
        parent_and_control[1].wait_for_end(0.01)


def never(milliseconds: int) -> str:
    raise ReceiveTimeout(f"nothing within {milliseconds} ms")


def after(refusals: int) -> Callable[[int], str]:
    """A step that returns at the last of so many calls."""
    rest = iter(range(refusals))

    def step(milliseconds: int) -> str:
        return "done" if next(rest, None) is None else never(milliseconds)

    return step


def test_a_step_is_tried_again_until_it_returns(parent_and_control: Pair) -> None:
    assert parent_and_control[1].patiently(after(3), DEADLINE, "nothing came") == "done"


def test_a_step_is_given_up_with_the_complaint_when_it_takes_too_long(parent_and_control: Pair) -> None:
    with pytest.raises(DemoError, match=r"^no frame came within 0.01 s$"):
        parent_and_control[1].patiently(never, 0.01, "no frame came")


def test_a_step_is_aborted_when_the_parent_is_gone(parent_and_control: Pair) -> None:
    parent, control = parent_and_control
    parent.is_gone()
    with pytest.raises(AbortedError):
        control.patiently(never, DEADLINE, "no frame came")
