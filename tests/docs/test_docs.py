"""Every block of code in the documentation runs; and the runner that says so sees what does not."""

from pathlib import Path

import pytest

from tests.docs import runner
from tests.docs.runner import BlockFailed, run_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]

pytestmark = pytest.mark.once

GOOD = """
```bash
git clone https://example.org/project.git
make test
```
1. A program in two pieces, and one that goes on by itself:
   ```python file=count.py
   import sys

   for number in range(2):
   ```
   ```python file=count.py
       print("count", number)
   sys.exit()
   ```
   ```bash until="ready"
   echo ready; exec cat /dev/zero >/dev/null
   ```
```json file=settings.json
{"name": "camera1"}
```
```python
import json, pathlib
```
```console
$ python count.py | \\
    tail -n 1 > last
$ .venv/bin/python --version
Python 3
```
```python
assert json.loads(pathlib.Path("settings.json").read_text()) == {"name": "camera1"}
assert pathlib.Path("last").read_text() == "count 1\\n"
```
```text
never run
```
"""

BAD = {
    "a python block that raises": ("```python\na = 0\n\n1 / a\n```\n", "page.md:4: exited with 1"),
    "a bash block that fails before its end": ("```bash\nfalse\ntrue\n```\n", "page.md:2: exited with 1"),
    "a block that does not end": ("```bash\ncat /dev/zero >/dev/null\n```\n", "page.md:2: still runs after 1 s"),
    "a program that never gets there": ("```bash until=x\ntrue\n```\n", "page.md:2: never printed 'x'"),
    "a target that does not exist": ("```bash\nmake coffee\n```\n", "page.md:2: make coffee: "),
    "what is no JSON": ("```json\n{'a': 1}\n```\n", "page.md:2: no JSON: "),
    "a script unlike its example": ("```python file=example.py\npass\n```\n", "page.md:2: differs from examples/"),
    "a script that nothing runs": ("```python file=other.py\npass\n```\n", "page.md:2: other.py is written, but"),
    "output in a console block": ("```console\nPython 3\n```\n", "page.md:2: a console block without"),
    "a language that nobody runs": ("```sh\ntrue\n```\n", "page.md:2: write ```bash"),
    "a misspelt word": ("```python fiel=x\npass\n```\n", "page.md:2: unknown words"),
    "a fence left open": ("```python\npass\n", "page.md:1: this fence is never closed"),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_page_runs(page: Path, socket_dir: Path) -> None:
    run_page(page, ROOT, socket_dir)


def test_runner_accepts_a_page_whose_blocks_all_run(project: Path, socket_dir: Path) -> None:
    (project / "page.md").write_text(GOOD)
    run_page(project / "page.md", project, socket_dir)


@pytest.mark.parametrize(("text", "complaint"), BAD.values(), ids=BAD)
def test_runner_refuses(
    text: str, complaint: str, project: Path, socket_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "DEADLINE", 1.0)
    (project / "page.md").write_text(text)
    with pytest.raises(BlockFailed, match=complaint):
        run_page(project / "page.md", project, socket_dir)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text("test:\n\ttrue\n")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "example.py").write_text("print()\n")
    return tmp_path
