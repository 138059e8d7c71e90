"""Writes what commands really print into the pages that show it: `python -m tests.docs.outputs [PAGE ...]`."""

import sys
import tempfile
from pathlib import Path

from tests.docs.output import alike, shown
from tests.docs.runner import Block, run_page

ROOT = Path(__file__).resolve().parents[2]


def record(page: Path, root: Path = ROOT) -> list[str]:
    """Run a page, and write into it what differs; return the places."""
    found: list[tuple[Block, str]] = []
    with tempfile.TemporaryDirectory(prefix="mb-") as folder:
        run_page(page, root, Path(folder), lambda block, printed: found.append((block, printed)))
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    differ = [(block, printed) for block, printed in found if not alike(block.text, printed, block.words)]
    for block, printed in reversed(differ):
        start = block.line - 1
        lines[start : start + block.text.count("\n")] = shown(printed, block.words)
    page.write_text("".join(lines), encoding="utf-8")
    return [f"{block.page}:{block.line}" for block, _ in differ]


if __name__ == "__main__":
    for name in sys.argv[1:] or [str(page) for page in sorted((ROOT / "docs").rglob("*.md"))]:
        for place in record(Path(name).resolve()):
            sys.stdout.write(f"{place}: renewed\n")
