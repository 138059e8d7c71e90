"""What a page says that a command prints is compared with what it prints, and can be written by a script."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from eis.msgbus.tools import COMMANDS
from tests.docs.output import alike, shown
from tests.docs.outputs import record
from tests.docs.runner import BlockFailed, find_blocks, run_page

pytestmark = pytest.mark.once

PAGE = """
```bash
echo '3 messages in 0.25 s'; seq 3
```
said before
```text output first=2
{said}
...
```
```text
a sample
```
```bash
echo last
```
```text output
last
```
"""
ROOT = Path(__file__).resolve().parents[2]
KEY = "<K(}vX8a7uf%o(uNX#?4zSxZM8dm6R3U(bHqzxQv"


@pytest.mark.parametrize(
    ("said", "printed", "words", "same"),
    [
        ("a\n", "a\n", {}, True),
        ("a\n", "b\n", {}, False),
        ("a\n", "a\nb\n", {}, False),
        ("a\n...\n", "a\nb\n", {"first": "1"}, True),
        ("a   1.5 s\n", "a 22.75 s\n", {}, True),
        ("3 messages\n", "4 messages\n", {}, False),
        ("3 messages\n", "1,234 messages\n", {"measured": ""}, True),
        ("camera " + KEY, "camera " + KEY[::-1], {}, True),
        ("camera " + KEY, "camera " + KEY[:-1], {}, False),
        ("── a\n", "─── a\n", {}, True),
    ],
)
def test_output_is_compared_but_for_what_differs_from_run_to_run(
    said: str, printed: str, words: dict[str, str], *, same: bool
) -> None:
    assert alike(said, printed, words) is same


def outputs_of(command: str) -> list[str]:
    """The outputs on the pages of `docs/howto` that follow a block with this command."""
    found = []
    for page in sorted((ROOT / "docs" / "howto").glob("*.md")):
        blocks = [block for block in find_blocks(page, page.name) if "file" not in block.words]
        found += [
            output.text
            for block, output in pairwise(blocks)
            if "output" in output.words and re.search(rf"^(timeout .*)?msgbus {command}\b", block.text, re.MULTILINE)
        ]
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_shown_with_what_it_really_prints(command: str) -> None:
    assert any(output.strip() for output in outputs_of(command))


def test_trailing_room_is_not_shown() -> None:
    assert shown("a  \nb\nc\n", {"first": "2"}) == "a\nb\n...\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def run(page: Path) -> None:
    (page.parent / "work").mkdir()
    run_page(page, page.parent, page.parent / "work")


def test_a_page_is_refused_when_it_says_what_is_not_printed(page: Path) -> None:
    page.write_text(PAGE.format(said="3 messages in 7.5 s\n2"))
    with pytest.raises(BlockFailed, match=r"page.md:7: that is not what was printed"):
        run(page)


def test_a_page_is_refused_when_nothing_printed_what_it_says(page: Path) -> None:
    page.write_text("```text output\na\n```\n")
    with pytest.raises(BlockFailed, match=r"page.md:2: no block of commands before it printed that"):
        run(page)


def test_a_page_is_right_when_the_script_has_written_it_and_stays_as_it_is(page: Path) -> None:
    page.write_text(PAGE.format(said="nothing"))
    assert record(page, page.parent) == ["page.md:7"]
    written = page.read_text()
    assert written == PAGE.format(said="3 messages in 0.25 s\n1")
    assert record(page, page.parent) == []
    assert page.read_text() == written
    run(page)
