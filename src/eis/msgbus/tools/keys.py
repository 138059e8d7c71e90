"""`msgbus keys`: make, show and check key files, and the configurations that use them. Never shows a secret."""

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from eis.msgbus import InvalidConfig, MessageBusError, keys
from eis.msgbus.tools.key_configs import configurations
from eis.msgbus.tools.stderr import say

__all__ = ["COMMANDS", "EXAMPLES"]

EXAMPLES = {
    "new": (
        "msgbus keys new camera",
        "msgbus keys new camera viewer wall --topic camera1 -a tcp://127.0.0.1:65013",
        "msgbus keys new robot panel --service reboot -a tcp://127.0.0.1:65014",
    ),
    "show": ("msgbus keys show camera", "msgbus keys show camera.secret viewer.public --json"),
    "check": ("msgbus keys check camera viewer.public",),
}

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Files = Annotated[
    list[str], typer.Argument(metavar="NAME|FILE", help="A pair, NAME.secret and NAME.public, or one file of it.")
]


def new(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="A pair for each program; with -a, the server first.")
    ],
    *,
    address: Annotated[
        str | None,
        typer.Option("-a", "--address", metavar="tcp://HOST:PORT", help="Write NAME.json too: the server is there."),
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC", help="With -a: what the server publishes.")
    ] = None,
    service: Annotated[
        str | None, typer.Option(metavar="NAME", help="With -a, instead of --topic: the service that the server is.")
    ] = None,
) -> None:
    """Make key pairs.

    NAME.secret is for its program's user alone, NAME.public for everybody. Existing files stay.
    """
    configs = configurations(names, address, topic or [], service)
    kinds = ("secret", "public", "json") if configs else ("secret", "public")
    for path in (Path(f"{name}.{kind}") for name in names for kind in kinds):
        if path.is_symlink() or path.exists():
            raise MessageBusError(f"cannot make {path}: File exists")
    for name in names:
        pair = keys.new_key_pair()
        keys.write_pair(pair, name)
        print(f"{name} {pair.public}")
    for name, config in configs.items():
        with Path(f"{name}.json").open("x", encoding="utf-8") as file:
            file.write(json_text.dumps(config, indent=2) + "\n")


def show(files: _Files, *, json: _Json = False) -> None:
    """Show public keys.

    They are those in the files, or those that belong to the secrets in them.
    """
    shown = {file: _public(file) for file in files}
    print(json_text.dumps(shown) if json else "\n".join(f"{file} {key}" for file, key in shown.items()))


def check(files: _Files) -> None:
    """Check key files.

    They are to hold keys, pairs are to be pairs, and nobody else may read a secret.
    """
    wrong = 0
    for file in files:
        try:
            _checked(file)
        except InvalidConfig as error:
            wrong += 1
            say(f"{error.where}: {error.problem}")
    if wrong:
        raise typer.Exit(1)


COMMANDS = {"new": new, "show": show, "check": check}


def _public(file: str) -> str:
    if file.endswith(".secret"):
        return keys.public_key(keys.read_secret(file))
    return keys.read_public(file if file.endswith(".public") else f"{file}.public")


def _checked(file: str) -> None:
    if file.endswith((".secret", ".public")):
        _public(file)
    else:
        keys.read_pair(file)
