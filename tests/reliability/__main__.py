"""The long run of the reliability plan (`make torture`): much of every row, and the figures written down."""

import argparse
import datetime as dt
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import machine
from tests.reliability.figures import Figure, read, table

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reference" / "reliability.md"
BEGIN, END = "<!-- figures: written by make torture -->\n", "<!-- end of the figures -->\n"


def main() -> int:
    arguments = _arguments()
    begun = time.monotonic()
    print(f"seed {arguments.seed}, scale {arguments.scale:g}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "figures")
        file.touch()
        failed = _run(arguments, file)
        figures = read(file.read_text(encoding="utf-8").splitlines())
    minutes = (time.monotonic() - begun) / 60
    print(f"{minutes:.1f} minutes, seed {arguments.seed}: {'some tests FAILED' if failed else 'all tests passed'}")
    if not arguments.only:
        _keep(arguments, figures, minutes, failed=bool(failed))
    return failed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats what was random")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the long run is done (0.1: a tenth)")
    parser.add_argument("--only", default="", help="run these tests only, as pytest -k; nothing is written down")
    return parser.parse_args()


def _run(arguments: argparse.Namespace, file: Path) -> int:
    """Run the tests in the order of the plan; return what pytest returns."""
    environment = {
        **os.environ,
        "RELIABILITY_SCALE": str(arguments.scale),
        "RELIABILITY_SEED": str(arguments.seed),
        "RELIABILITY_FIGURES": str(file),
    }
    seeds = ["-p", "no:randomly", f"--hypothesis-seed={arguments.seed}"]
    command = [sys.executable, "-m", "pytest", "-v", "--no-header", "--color=no", *seeds, "-k", arguments.only]
    ours = [f"--ignore={HERE / name}" for name in ("test_figures.py", "test_history.py", "test_proxy.py")]
    return subprocess.run([*command, *ours, str(HERE)], env=environment, check=False).returncode


def _keep(arguments: argparse.Namespace, figures: list[Figure], minutes: float, *, failed: bool) -> None:
    """Write the figures down, as JSON and into the documentation."""
    facts = machine() | {"seed": str(arguments.seed), "scale": f"{arguments.scale:g}", "minutes": f"{minutes:.1f}"}
    result = {"facts": facts, "failed": failed, "figures": [vars(figure) for figure in figures]}
    file = HERE / "results" / f"{dt.datetime.now(dt.UTC):%Y-%m-%d}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    about = ", ".join(f"{name} {fact}" for name, fact in facts.items())
    outcome = "**Some tests failed.**" if failed else "No test failed."
    between = f"{BEGIN}\n{about}. {outcome}\n\n{table(figures)}\n{END}"
    PAGE.write_text(before + between + rest.partition(END)[2], encoding="utf-8")
    print(f"written: {file}, {PAGE}")


if __name__ == "__main__":
    sys.exit(main())
