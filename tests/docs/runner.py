"""Finds the fenced blocks of a Markdown file and runs them. Knows neither pytest nor the message bus.

Words after the language of a fence say what is special about its block:
    file=NAME      written to NAME before anything runs; the pieces of one NAME are joined in their order
    until="TEXT"   a bash block that goes on by itself: it did its work once it has printed TEXT
    not-run="WHY"  left alone; for what is no more than a sample of output
    output         of a text block: what the block of commands before it prints; see output.py
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from tests.docs.output import alike
from tests.docs.program import Program, ProgramFailed

DEADLINE = 60.0  # seconds, for each block
WORDS = {"file", "until", "not-run", "output", "first", "measured"}
OTHER_NAMES = {"py": "python", "python3": "python", "pycon": "python", "sh": "bash", "shell": "bash", "zsh": "bash"}
OPENING = re.compile(r"^(?P<indent>\s*)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
SETTING_UP = re.compile(r"git clone \S+( \S+)?|cd \S+|make( [a-z-]+)*")  # what a reader does once, before the rest


class BlockFailed(AssertionError):
    """A block does not do what its page promises; the message begins with file:line."""


@dataclass(frozen=True)
class Block:
    page: str
    line: int  # of its first line of text
    language: str
    words: dict[str, str]
    text: str

    def failed(self, why: str) -> BlockFailed:
        return BlockFailed(f"{self.page}:{self.line}: {why}")


def check_output(block: Block, printed: str) -> None:
    if not alike(block.text, printed, block.words):
        raise block.failed(f"that is not what was printed; `python -m tests.docs.outputs` renews it\n{printed}")


def run_page(page: Path, root: Path, folder: Path, heard: Callable[[Block, str], None] = check_output) -> None:
    """Run every block of `page` in `folder`, an empty directory; raise `BlockFailed` for the first that fails.

    `heard` gets each block of output, and what was printed.
    """
    blocks = [block for block in find_blocks(page, str(page.relative_to(root))) if "not-run" not in block.words]
    if (root / "examples").is_dir():
        shutil.copytree(root / "examples", folder / "examples")
    (folder / ".venv").symlink_to(sys.prefix)  # where the README's commands look for the programs
    write_files(blocks, root / "examples", folder)
    to_run = [block for block in blocks if "file" not in block.words]
    python = [block for block in to_run if block.language == "python"]
    printed = None
    with ExitStack() as running:
        for block in to_run:
            if block.language == "json":
                check_json(block)
            elif block.language in {"bash", "console"} and not is_setting_up(block, root):
                printed = run(block, ["bash", "-euo", "pipefail", "-c", commands_of(block)], folder, running)
                printed = printed.replace(f"{folder}/", "")  # which is another one each time
            elif "output" in block.words:
                if printed is None:
                    raise block.failed("no block of commands before it printed that")
                heard(block, printed)
            elif python and block is python[-1]:
                run(python[0], [sys.executable, write_program(python, folder)], folder, running)


def run(block: Block, command: list[str], folder: Path, running: ExitStack) -> str:
    try:
        program = Program(command, folder, block.words.get("until"))
        running.enter_context(closing(program)).do_its_work(DEADLINE)
    except ProgramFailed as failure:
        lines = re.findall(rf'/{re.escape(Path(block.page).name)}\.py", line (\d+)', str(failure))
        raise replace(block, line=int([block.line, *lines][-1])).failed(str(failure)) from None
    return program.output


def find_blocks(page: Path, name: str) -> Iterator[Block]:
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    for number, line in lines:
        if not (opening := OPENING.match(line)):
            continue
        closing_fence, indent, text = re.compile(rf"\s*{opening['ticks']}[`~]*\s*"), len(opening["indent"]), ""
        for _, inner in lines:
            if closing_fence.fullmatch(inner):
                break
            text += inner[min(indent, len(inner) - len(inner.lstrip())) :] + "\n"
        else:
            raise BlockFailed(f"{name}:{number}: this fence is never closed")
        language, *rest = shlex.split(opening["info"]) or ["text"]
        block = Block(name, number + 1, language, dict(word.partition("=")[::2] for word in rest), text)
        if language in OTHER_NAMES:
            raise block.failed(f"write ```{OTHER_NAMES[language]}, not ```{language}: only that is run")
        if unknown := set(block.words) - WORDS:
            raise block.failed(f"unknown words after ```{language}: {sorted(unknown)}")
        yield block


def write_files(blocks: list[Block], examples: Path, folder: Path) -> None:
    for name in dict.fromkeys(block.words["file"] for block in blocks if "file" in block.words):
        pieces = [block for block in blocks if block.words.get("file") == name]
        text, example = "".join(block.text for block in pieces), examples / name
        if example.exists() and example.read_text(encoding="utf-8") != text:
            raise pieces[0].failed(f"differs from examples/{name}")
        if not example.exists() and not any(name in each.text for each in blocks if each not in pieces):
            raise pieces[0].failed(f"{name} is written, but no block uses it and examples/ has no such file")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def check_json(block: Block) -> None:
    try:
        json.loads(block.text)
    except ValueError as error:
        raise block.failed(f"no JSON: {error}") from None


def is_setting_up(block: Block, root: Path) -> bool:
    """Tell whether a block only fetches and makes the project; then its targets must exist, but are not made here."""
    lines = [line.strip() for line in commands_of(block).splitlines() if line.strip() and not line.startswith("#")]
    if not all(SETTING_UP.fullmatch(line) for line in lines):
        return False
    env = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}}
    for targets in (shlex.split(line)[1:] for line in lines if line.startswith("make")):
        command = ["make", "-n", *targets]
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=DEADLINE, check=False)
        if done.returncode:
            raise block.failed(f"make {' '.join(targets)}: {done.stderr}")
    return True


def commands_of(block: Block) -> str:
    if block.language != "console":
        return block.text
    if not (lines := re.findall(r"^\$ ((?:.*\\\n)*.*\n)", block.text, flags=re.MULTILINE)):
        raise block.failed("a console block without a line that begins with `$ `: for output write ```text")
    return "".join(lines)


def write_program(blocks: list[Block], folder: Path) -> str:
    """Write the page's python blocks as one program whose line numbers, in a traceback, are those of the page."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    script = folder / f"{Path(blocks[0].page).name}.py"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return script.name
