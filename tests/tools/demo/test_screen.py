import io

import pytest

from eis.msgbus.tools.demo.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_follow_each_other_when_the_stream_is_a_file() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.show(["one", "two"])
    screen.show(["three"])
    assert stream.getvalue() == "one\ntwo\nthree\n"


def test_lines_take_the_place_of_those_before_when_the_stream_is_a_terminal() -> None:
    stream = Terminal()
    screen = Screen(stream)
    screen.show(["one", "two"])
    screen.show(["three"])
    assert stream.getvalue() == "one\ntwo\n\x1b[2F\x1b[Jthree\n"


def test_lines_are_cut_when_the_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    stream = Terminal()
    Screen(stream).show(["0123456789abcdef"])
    assert stream.getvalue() == "012345678\n"
