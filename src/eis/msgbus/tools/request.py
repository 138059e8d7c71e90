"""`msgbus request`: send requests and show their replies. Does not know how they are written and shown."""

from typing import Annotated

import typer

from eis.msgbus import MsgbusContext
from eis.msgbus.tools.connection import AddressOption, ConfigOption, Connection, KeysOption, ServerKeyOption
from eis.msgbus.tools.messages import BlobOption, FileOption, Words, messages
from eis.msgbus.tools.output import JsonOption, Output, SaveOption

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus request reboot -c bus.json",
    "msgbus request reboot delay=5 reason=update -c bus.json --timeout 2",
    "msgbus request reboot - -a ipc://sockets/reboot < lines.jsonl",
)

_Timeout = Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="Wait so long for each reply.")]


def command(
    service: Annotated[str, typer.Argument(metavar="SERVICE")],
    words: Words = None,
    *,
    config: ConfigOption = None,
    address: AddressOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    file: FileOption = None,
    blob: BlobOption = None,
    timeout: _Timeout = 5,
    json: JsonOption = False,
    save: SaveOption = None,
) -> None:
    """Send requests."""
    nothing = not (words or file or blob)
    written = [{}] if nothing else messages(words or (), file or (), blob or ())
    output = Output(json, save)
    source = Connection(config, address, keys, server_key).client(service)
    with MsgbusContext(source) as bus:
        requester = bus.get_service(service)
        for message in written:
            output.show(requester.request(message, timeout * 1000))
