"""How a message is shown: a line for people on a terminal, a line of JSON otherwise. Does not know where it is from."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from eis.msgbus import MessageBusError, MsgEnvelope
from eis.msgbus.tools.stderr import printable, say

__all__ = ["JsonOption", "Output", "SaveOption"]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print lines of JSON, as is done anyway where stdout is no terminal.")
]
SaveOption = Annotated[
    Path | None, typer.Option("--save", metavar="DIR", help="Write the blobs to files in this directory.")
]

_KINDS = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n": "png", b"BM": "bmp"}
_LONGEST_NAME = 100


class Output:
    """Print message after message, each on one line, and save blobs."""

    def __init__(self, as_json: bool, save: Path | None) -> None:
        self._save = save
        self._count = 0
        self._console = None if as_json or not sys.stdout.isatty() else Console(highlight=False)

    def show(self, envelope: MsgEnvelope[Any]) -> None:
        """Print one message, and save its blobs where that was asked for."""
        self._count += 1
        files = self._saved(envelope)
        try:
            self._print(envelope, files)
        except RecursionError:
            say(f"a message of {envelope.name} is not shown: it is nested too deep")

    def _print(self, envelope: MsgEnvelope[Any], files: list[str]) -> None:
        sizes = [len(view) for view in envelope.views]
        if self._console is not None:
            self._console.print(_line(envelope, sizes, files), soft_wrap=True)
            return
        told: dict[str, Any] = {"name": envelope.name, "metadata": envelope.meta_data, "blobs": sizes}
        if self._save is not None:
            told["files"] = files
        print(json.dumps(told), flush=True)

    def _saved(self, envelope: MsgEnvelope[Any]) -> list[str]:
        if self._save is None:
            return []
        # The name came from elsewhere: it must not lead out of the directory.
        name = re.sub(r"[^A-Za-z0-9_-]", "_", envelope.name or "")[:_LONGEST_NAME]
        files = []
        for index, view in enumerate(envelope.views):
            path = self._save / f"{name}-{self._count:06}-{index}.{_kind(view)}"
            try:
                self._save.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    file.write(view)
            except OSError as error:
                raise MessageBusError(f"cannot write {path}: {error.strerror}") from error
            files.append(str(path))
        return files


def _line(envelope: MsgEnvelope[Any], sizes: list[int], files: list[str]) -> Text:
    meta_data = Text(printable(json.dumps(envelope.meta_data, ensure_ascii=False)))
    JSONHighlighter().highlight(meta_data)
    line = Text.assemble((time.strftime("%H:%M:%S "), "dim"), (printable(envelope.name or ""), "bold"), " ", meta_data)
    for index, size in enumerate(sizes):
        line.append(f" + {size} bytes", "cyan")
        line.append(f" in {files[index]}" if files else "")
    return line


def _kind(blob: memoryview) -> str:
    start = bytes(blob[:8])
    return next((kind for begin, kind in _KINDS.items() if start.startswith(begin)), "bin")
