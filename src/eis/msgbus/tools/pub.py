"""`msgbus pub`: publish what was written. Does not know how messages are read."""

import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from eis.msgbus import MsgbusContext
from eis.msgbus.tools.completion import names
from eis.msgbus.tools.connection import Connection
from eis.msgbus.tools.demo.pace import Pace
from eis.msgbus.tools.messages import Written
from eis.msgbus.tools.options import gathered
from eis.msgbus.tools.stderr import say

__all__ = ["EXAMPLES", "command"]

EXAMPLES = (
    "msgbus pub camera1 frame=1 label=scratch -c bus.json",
    "msgbus pub camera1 '{\"frame\": 1}' --blob frame.png -a ipc://sockets/camera1",
    "msgbus pub camera1 -f frames.json --rate 30 -n 90 -c bus.json",
    "msgbus pub camera1 --image images --rate 30 -c bus.json",
    "msgbus pub camera1 - -c bus.json < lines.jsonl",
)

_Count = Annotated[
    int | None,
    typer.Option(
        "-n", "--count", min=0, metavar="N", help="So many messages in all, beginning anew after the last; 0: no end."
    ),
]
_Rate = Annotated[float | None, typer.Option(min=0.001, metavar="HZ", help="Messages in a second, at most.")]
_Wait = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Wait so long for the first subscriber; 0: do not wait.")
]


@gathered(written=Written, connection=Connection)
def command(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", autocompletion=names)],
    *,
    connection: Connection,
    written: Written,
    count: _Count = None,
    rate: _Rate = None,
    wait: _Wait = 10,
) -> None:
    """Publish messages."""
    if written.nothing:
        raise typer.BadParameter(
            "expected a message: KEY=VALUE, JSON, -, --file, --image or --blob", param_hint="KEY=VALUE"
        )
    found = written.messages()
    source = connection.publisher(topic)
    with MsgbusContext(source) as bus:
        publisher = bus.new_publisher(topic)
        if wait:
            publisher.wait_for_subscribers(1, timeout=wait * 1000)
        for message in _paced(_counted(found, count, again=not written.once), rate):
            publisher.publish(message)
        dropped = publisher.stats.dropped
    if dropped:
        say(f"{dropped} messages did not reach a subscriber whose queue was full: a --rate gives it time")
        raise typer.Exit(1)


def _counted(written: Iterable[Any], count: int | None, *, again: bool) -> Iterable[Any]:
    if count is None:
        return written
    return itertools.islice(itertools.cycle(written) if again else written, count or None)


def _paced(written: Iterable[Any], rate: float | None) -> Iterator[Any]:
    pace = Pace(rate, None)
    never = threading.Event()
    for message in written:
        never.wait(pace.delay())
        yield message
