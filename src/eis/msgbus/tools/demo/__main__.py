"""A process of the demo: `python -m eis.msgbus.tools.demo ROLE`, started by `msgbus demo`, which talks to its stdin."""

import importlib
import shutil
import sys

import msgspec

from eis.msgbus import MsgbusException
from eis.msgbus.tools.demo.control import AbortedError, Control, DemoError, read_lines
from eis.msgbus.tools.demo.settings import Settings

_ROLES = ("ingestion", "analytics", "viewer")


def main(role: str) -> int:
    """Play a role until the parent says so or is gone; in the latter case tidy up in its place."""
    lines = read_lines(0)
    settings = msgspec.json.decode(next(lines, b""), type=Settings)
    control = Control(lines)
    try:
        return _play(role, settings, control)
    except AbortedError:
        return 0
    except (MsgbusException, DemoError, OSError, ValueError) as error:
        if not control.orphaned:  # what fails after the parent is gone fails because of that
            print(f"msgbus demo: {role}: {error}", file=sys.stderr)
        return 1
    finally:
        if control.orphaned:
            shutil.rmtree(settings.directory, ignore_errors=True)


def _play(role: str, settings: Settings, control: Control) -> int:
    status: int = importlib.import_module(f"eis.msgbus.tools.demo.{role}").main(settings, control)
    return status


if __name__ == "__main__":
    if sys.argv[1:2] not in [[role] for role in _ROLES]:
        sys.exit("a process of `msgbus demo`, which starts it")
    sys.exit(main(sys.argv[1]))
