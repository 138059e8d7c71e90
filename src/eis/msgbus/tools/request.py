"""`msgbus request`: send requests and show their replies. Does not know how they are written and shown."""

from typing import Annotated

import typer

from eis.msgbus import MsgbusContext
from eis.msgbus.tools.completion import names
from eis.msgbus.tools.connection import Connection
from eis.msgbus.tools.messages import Written
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.output import JsonOption, Output, SaveOption

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus request reboot -c bus.json",
    "msgbus request reboot delay=5 reason=update -c bus.json --timeout 2",
    "msgbus request reboot - -a ipc://sockets/reboot < lines.jsonl",
)

_Timeout = Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="Wait so long for each reply.")]


@gathered(written=Written, connection=Connection)
def command(
    service: Annotated[str, typer.Argument(metavar="SERVICE", autocompletion=names)],
    *,
    connection: Connection,
    written: Written,
    timeout: _Timeout = 5,
    json: JsonOption = False,
    save: SaveOption = None,
) -> None:
    """Send requests."""
    found = [{}] if written.nothing else written.messages()
    output = Output(json, save)
    source = connection.client(service)
    with MsgbusContext(source) as bus:
        requester = bus.get_service(service)
        for message in found:
            output.show(requester.request(message, timeout * 1000))
