"""`msgbus sub`: show what is published. Does not know how it is shown."""

from typing import Annotated

import typer

from eis.msgbus import MsgbusContext
from eis.msgbus.tools.completion import names
from eis.msgbus.tools.connection import Connection
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.output import JsonOption, Output, SaveOption
from eis.msgbus.tools.stderr import say

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus sub camera1 -c bus.json -n 3",
    "msgbus sub camera1 -a ipc://sockets/camera1 --save frames -n 1",
    "msgbus sub camera1 -c bus.json -n 1 --json --timeout 5 | python -m json.tool",
)

_Topic = Annotated[
    str, typer.Argument(metavar="TOPIC", help="The topic, or the beginning of several.", autocompletion=names)
]
_Count = Annotated[int | None, typer.Option("-n", "--count", min=1, metavar="N", help="End after so many messages.")]
_Timeout = Annotated[
    float | None,
    typer.Option(min=0, metavar="SECONDS", help="Fail if no message comes for so long; left out: wait for ever."),
]


@gathered(connection=Connection)
def command(
    topic: _Topic,
    *,
    connection: Connection,
    count: _Count = None,
    timeout: _Timeout = None,
    json: JsonOption = False,
    save: SaveOption = None,
) -> None:
    """Show messages."""
    output = Output(json, save)
    source = connection.client(topic)
    with MsgbusContext(source) as bus:
        subscriber = bus.new_subscriber(topic)
        left = count
        try:
            while left != 0:
                output.show(subscriber.recv(timeout=-1 if timeout is None else timeout * 1000))
                left = None if left is None else left - 1
        finally:
            if lost := subscriber.stats.lost:
                say(f"{lost} messages were lost: they came faster than they could be shown")
