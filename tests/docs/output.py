"""What a command printed, and what a page says that it prints. Runs nothing.

A block `text output` holds what the block of commands before it prints. Words after that:
    first=N     only the first lines, and `...`
    measured    whole numbers differ from run to run too, as those with a point always do
"""

import re

KEY = re.compile(r"(?<![^\s'\"])[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}(?![^\s'\",])")
SECONDS = re.compile(r"\d+\.\d+(e-?\d+)?")
WHOLE = re.compile(r"\d[\d,]*")
RULE = re.compile("─+")
REST = "..."


def shown(printed: str, words: dict[str, str]) -> str:
    """Return what a page shows of what was printed."""
    lines = [line.rstrip() for line in printed.splitlines()]
    if first := words.get("first"):
        lines = [*lines[: int(first)], REST]
    return "".join(f"{line}\n" for line in lines)


def alike(said: str, printed: str, words: dict[str, str]) -> bool:
    """Tell whether a page says what was printed, apart from what differs from run to run: times, keys, columns."""
    return _masked(said, words) == _masked(shown(printed, words), words)


def _masked(text: str, words: dict[str, str]) -> list[str]:
    masked = SECONDS.sub("0.0", RULE.sub("─", KEY.sub("KEY", text)))
    if "measured" in words:
        masked = WHOLE.sub("0", masked)
    return [" ".join(line.split()) for line in masked.strip().splitlines()]
