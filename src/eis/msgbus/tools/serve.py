"""`msgbus serve`: answer requests, as a stand-in for a service or around a program. Does not know who asks."""

import json as json_text
import shlex
import subprocess
from collections.abc import Callable
from typing import Annotated, Any

import typer

from eis.msgbus import InvalidMessage, MsgbusContext, MsgEnvelope
from eis.msgbus.tools.completion import names
from eis.msgbus.tools.connection import Connection
from eis.msgbus.tools.messages import object_of
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.output import JsonOption, Output, SaveOption
from eis.msgbus.tools.stderr import say

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus serve reboot -c bus.json",
    "msgbus serve reboot --answer '{\"done\": true}' -c bus.json -n 1",
    "msgbus serve reboot --exec 'python answer.py' -a ipc://sockets/reboot",
)

_Answer = Annotated[str | None, typer.Option(metavar="JSON", help="Answer with this object, instead of the request.")]
_Exec = Annotated[
    str | None,
    typer.Option(
        "--exec",
        metavar="COMMAND",
        help="Run a program for each request: its stdin is the metadata, its stdout the answer, both a JSON object.",
    ),
]
_Timeout = Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="Give a program so long.")]
_Count = Annotated[int | None, typer.Option("-n", "--count", min=1, metavar="N", help="End after so many requests.")]

_Reply = Callable[[MsgEnvelope[Any]], Any]


@gathered(connection=Connection)
def command(
    service: Annotated[str, typer.Argument(metavar="SERVICE", autocompletion=names)],
    *,
    connection: Connection,
    answer: _Answer = None,
    program: _Exec = None,
    timeout: _Timeout = 30,
    count: _Count = None,
    json: JsonOption = False,
    save: SaveOption = None,
) -> None:
    """Answer requests."""
    reply = _reply(answer, program, timeout)
    output = Output(json, save)
    source = connection.service(service)
    with MsgbusContext(source) as bus:
        serving = bus.new_service(service)
        say(f"serving {service}")
        left = count
        while left != 0:
            request = serving.recv()
            serving.response(reply(request))
            output.show(request)
            left = None if left is None else left - 1


def _reply(answer: str | None, program: str | None, timeout: float) -> _Reply:
    if answer is not None and program is not None:
        raise typer.BadParameter("expected one of the two", param_hint="--answer or --exec")
    if answer is not None:
        fixed = object_of(answer, "--answer")
        return lambda _: fixed
    if program is not None:
        words = _words(program)
        return lambda request: _result(words, request, timeout)
    return lambda request: request


def _words(program: str) -> list[str]:
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise typer.BadParameter(f"{error}: {program!r}", param_hint="--exec") from None
    if not words:
        raise typer.BadParameter("expected a program, got nothing", param_hint="--exec")
    return words


def _result(words: list[str], request: MsgEnvelope[Any], timeout: float) -> dict[str, Any]:
    """Return what the program answers; what goes wrong is told to the client and here, and the service goes on."""
    try:
        sent = json_text.dumps(request.meta_data) + "\n"
        done = subprocess.run(  # noqa: S603  # the user's own program, without a shell
            words, input=sent.encode(), stdout=subprocess.PIPE, timeout=timeout, check=True
        )
        return object_of(done.stdout, "its output")
    except (OSError, RecursionError, subprocess.SubprocessError, InvalidMessage) as error:
        problem = str(error)
    say(f"--exec: {problem}")
    return {"error": f"the program of this service failed: {problem}"}
