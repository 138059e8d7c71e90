"""What a user writes, to messages: arguments, lines, files. Does not know where they go."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from eis.msgbus import InvalidMessage

__all__ = ["Written", "object_of"]

_Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE|JSON",
        help="Metadata; a VALUE that is no JSON is text. A single - reads messages from stdin, a JSON object a line.",
    ),
]
_FileOption = Annotated[
    list[Path] | None,
    typer.Option("-f", "--file", metavar="FILE", help="A JSON file with an object, or a list of them: messages."),
]
_BlobOption = Annotated[
    list[Path] | None,
    typer.Option("-b", "--blob", metavar="FILE", help="A file that goes with each message."),
]
_ImageOption = Annotated[
    list[Path] | None,
    typer.Option(
        "-i", "--image", metavar="FILE|DIR", help="A JPEG or PNG image, or a directory of them: a message for each."
    ),
]

_ENCODINGS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n": "png"}
"""By their first bytes, what EIS calls the encoding of images."""


@dataclasses.dataclass(frozen=True)
class Written:
    """Hold what a user wrote, in any of its forms."""

    words: _Words = None
    file: _FileOption = None
    blob: _BlobOption = None
    image: _ImageOption = None

    @property
    def nothing(self) -> bool:
        """Tell whether there is no message at all."""
        return not (self.words or self.file or self.blob or self.image)

    @property
    def once(self) -> bool:
        """Tell whether it can be read only once."""
        return self.words == ["-"]

    def messages(self) -> Iterator[Any]:
        """Return the messages, one after the other; none where nothing was written.

        Raises:
            InvalidMessage: what was written is no message; `where` is its place.
        """
        words, files = self.words or (), self.file or ()
        if files and words:
            raise typer.BadParameter("expected metadata or --file, got both", param_hint="KEY=VALUE")
        if self.image and (files or self.once):
            raise typer.BadParameter("goes with KEY=VALUE and JSON only", param_hint="--image")
        parts = [_read(path) for path in self.blob or ()]
        if self.image:
            return _of_images(_in_directories(self.image), _of_words(words), parts)
        return _with(parts, _found(words, files, parts))


def _found(words: Sequence[str], files: Sequence[Path], parts: Sequence[bytes]) -> Iterable[dict[str, Any]]:
    if list(words) == ["-"]:
        return _of_lines()
    if files:
        return [meta_data for path in files for meta_data in _of_file(path)]
    return [_of_words(words)] if words or parts else []


def _with(parts: Sequence[bytes], found: Iterable[dict[str, Any]]) -> Iterator[Any]:
    for meta_data in found:
        yield (meta_data, *parts) if parts else meta_data


def _of_images(paths: Sequence[Path], common: dict[str, Any], parts: Sequence[bytes]) -> Iterator[Any]:
    for path in paths:
        image = _read(path)
        encoding = next((name for begin, name in _ENCODINGS.items() if image.startswith(begin)), None)
        if encoding is None:
            raise InvalidMessage("expected a JPEG or PNG image", str(path))
        yield ({"encoding_type": encoding, **common}, image, *parts)


def _in_directories(paths: Sequence[Path]) -> list[Path]:
    """Return the files, with those in directories in the order of their names."""
    return [each for path in paths for each in (_files_in(path) if path.is_dir() else [path])]


def _files_in(directory: Path) -> list[Path]:
    try:
        found = sorted(each for each in directory.iterdir() if each.is_file() and not each.name.startswith("."))
    except OSError as error:
        raise InvalidMessage(f"cannot read it: {error.strerror}", str(directory)) from error
    if not found:
        raise InvalidMessage("expected images, got an empty directory", str(directory))
    return found


def object_of(text: str | bytes, where: str) -> dict[str, Any]:
    """Return the JSON object that `text` is.

    Raises:
        InvalidMessage: it is none.
    """
    value = _json(text, where)
    if not isinstance(value, dict):
        raise InvalidMessage(f"expected a JSON object, got {type(value).__name__}", where)
    return value


def _of_words(words: Sequence[str]) -> dict[str, Any]:
    meta_data: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith("{"):
            meta_data |= object_of(word, word)
        elif equals and key:
            meta_data[key] = _value(value)
        else:
            raise InvalidMessage("expected KEY=VALUE or a JSON object", repr(word))
    return meta_data


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def _of_lines() -> Iterator[dict[str, Any]]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if line.strip():
            yield object_of(line, f"line {number}")


def _of_file(path: Path) -> list[dict[str, Any]]:
    value = _json(_read(path), str(path))
    listed = value if isinstance(value, list) else [value]
    for index, each in enumerate(listed):
        if not isinstance(each, dict):
            raise InvalidMessage(f"expected a JSON object, got {type(each).__name__}", f"{path}[{index}]")
    return listed


def _json(text: str | bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidMessage(f"expected JSON: {error}", where) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidMessage(f"cannot read it: {error.strerror}", str(path)) from error
