"""The commands that need the extra, put together with typer. Does not know what a command does."""

import functools
import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from eis.msgbus import InvalidConfig, MsgbusException
from eis.msgbus.tools import COMMANDS
from eis.msgbus.tools.stderr import Log
from eis.msgbus.tools.version import version

__all__ = ["run"]

_Command = Callable[..., None]

_ABOUT = "Tools of eis.msgbus, a message bus without a broker."


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; typer's own may come as a `SystemExit`."""
    log = Log()
    logging.getLogger("eis.msgbus").addHandler(log)
    try:
        typer.main.get_command(_application())(arguments, prog_name="msgbus")
    except MsgbusException as error:
        log.tell(str(error))
        return 2 if isinstance(error, InvalidConfig) else 1
    finally:
        logging.getLogger("eis.msgbus").removeHandler(log)
    return 0


def _application() -> typer.Typer:
    application = _typer(_ABOUT)
    application.callback()(_options)
    for name, what in COMMANDS.items():
        module = importlib.import_module(f"eis.msgbus.tools.{name}")
        if hasattr(module, "command"):
            _add(application, name, _sentence(what), module.command, module.EXAMPLES)
        else:
            application.add_typer(_group(_sentence(what), module.COMMANDS, module.EXAMPLES), name=name)
    passed_on = {"ignore_unknown_options": True, "allow_extra_args": True}
    what = "play 1080p frames through the bus and show what it costs"
    application.command("demo", help=_sentence(what), context_settings=passed_on)(_demo)
    return application


def _typer(about: str) -> typer.Typer:
    """Return an application without commands; its help is plain, the same in a terminal and in a file."""
    return typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def _group(about: str, commands: Mapping[str, _Command], examples: Mapping[str, Sequence[str]]) -> typer.Typer:
    group = _typer(about)
    for name, command in commands.items():
        assert command.__doc__ is not None
        _add(group, name, command.__doc__, command, examples[name])
    return group


def _add(application: typer.Typer, name: str, about: str, command: _Command, examples: Sequence[str]) -> None:
    shown = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
    application.command(name, help=about, epilog=shown)(_quiet(command))


def _quiet(command: _Command) -> _Command:
    """Let a command end without a word when its reader has enough."""

    @functools.wraps(command)
    def run(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except BrokenPipeError:
            # The interpreter flushes once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return run


def _sentence(what: str) -> str:
    return f"{what[0].upper()}{what[1:]}."


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"msgbus {version()}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def _demo() -> None:
    """Stand in the help and in shell completion: what is to be run goes another way, which needs no extra."""
