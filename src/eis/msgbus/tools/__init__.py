"""The command line `msgbus`: arguments in, an exit status out. What a command does stands in its own file."""

import importlib.util
import sys
from collections.abc import Sequence

from eis.msgbus.tools.stderr import say

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "pub": "publish messages",
    "sub": "show what is published",
    "request": "send a request and show the reply",
    "serve": "answer requests",
    "record": "write what is published into an MCAP file, which Foxglove opens",
    "replay": "publish what was recorded once more, in its rhythm",
    "hz": "show how many messages come, how large and how late",
    "broker": "carry messages between publishers and subscribers",
    "top": "show all topics, renewed in place: rates, lateness, losses",
    "bench": "measure how fast the bus is on this machine, in half a minute",
    "keys": "make, show and check key pairs",
    "check": "find what is wrong with one configuration, or with all",
    "doctor": "say why nothing comes, by connecting as a program would",
    "schema": "print the JSON Schema of a configuration",
}
"""By name, what each command with an extra does; its file has the same name."""

_EXTRA = ("typer", "rich")
_RECORDING = ("mcap", "mcap_protobuf", "foxglove_schemas_protobuf")
"""What the commands need that write and read recordings, besides."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 2 not startable, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except KeyboardInterrupt:
        return 130


def _run(given: list[str]) -> int:
    installed = _are_installed(_EXTRA)
    if given[:1] == ["demo"] or not (installed or (given and given[0] in COMMANDS)):
        from eis.msgbus.tools import without_extra  # here, so that each start loads what it needs and no more

        return without_extra.run(given)
    if not installed:
        say(f'{given[0]} needs typer and rich: pip install "eis-msgbus[cli]"')
        return 2
    if given[:1] in (["record"], ["replay"]) and not _are_installed(_RECORDING):
        say(f'{given[0]} needs mcap and what goes with it: pip install "eis-msgbus[cli,record]"')
        return 2
    from eis.msgbus.tools import application

    return application.run(given)


def _are_installed(modules: Sequence[str]) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in modules)
