"""What `msgbus` does without its extra: the demo, and how to get the rest. Knows the standard library only."""

import argparse
import math
import sys
from collections.abc import Sequence

from eis.msgbus.tools.version import version

__all__ = ["run"]

_DEMO = (
    "Three processes play 1080p frames through the bus: ingestion publishes them, analytics finds what moves, "
    "a viewer shows the figures. Ends after --seconds, with the film, or with Ctrl-C; "
    "exits with 1 if a frame was lost or a process failed."
)
_REST = 'For the commands pub, sub, request, serve and others: pip install "eis-msgbus[cli]"'


def run(arguments: Sequence[str]) -> int:
    """Run the demo, or tell what there is, and return the exit status."""
    options = _parser().parse_args(arguments)
    return int(options.command(options))


def _parser() -> argparse.ArgumentParser:
    description = "Tools of eis.msgbus, a message bus without a broker."
    parser = argparse.ArgumentParser(prog="msgbus", description=description, epilog=_REST)
    parser.add_argument("--version", action="version", version=f"msgbus {version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands.add_parser("demo", help="play 1080p frames through the bus and show what it costs"))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = _DEMO
    parser.add_argument(
        "--source",
        metavar="FILE|DEVICE",
        help="a film, or a camera such as 0 or /dev/video0 (default: a rendered scene)",
    )
    parser.add_argument(
        "--seconds", type=_seconds, metavar="N", help="end after N seconds (default: with the film, or never)"
    )
    parser.add_argument(
        "--tcp",
        action="store_true",
        default=sys.platform == "win32",
        help="send the frames over zmq_tcp instead of zmq_ipc (always on Windows)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="msgbus-demo",
        help="directory for frame.png, table.txt and table.json (default: %(default)s)",
    )
    parser.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from eis.msgbus.tools import demo  # here, so that the help starts without it

    return demo.run(demo.Options(options.source, options.seconds, options.tcp, options.output))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (0 < seconds < math.inf):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return seconds
