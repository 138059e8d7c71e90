"""The pictures of the documentation that commands make: `python -m tests.docs.pictures`. Checks nothing."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.tools.deployment import write_deployment

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def draw_deployment(target: Path) -> None:
    """Draw the deployment of the example."""
    with tempfile.TemporaryDirectory() as directory:
        names = write_deployment(Path(directory))
        command = [sys.executable, "-m", "eis.msgbus", "check", *names, "--graph", str(target)]
        subprocess.run(command, cwd=directory, stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    draw_deployment(IMAGES / "deployment.svg")
