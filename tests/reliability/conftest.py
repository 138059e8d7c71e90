"""Fixtures of the reliability plan: how much is done, with which seed, and where the figures go.

`make test` does little of each row, `make torture` does much; both run the same tests.
"""

import dataclasses
import os
import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.broker.conftest import place
from tests.reliability.figures import Figure, keep
from tests.reliability.proxy import Proxy
from tests.transports.zmq.conftest import make_sides, opened, raw, start

__all__ = ["make_sides", "opened", "place", "raw", "start"]

Record = Callable[..., None]


@dataclasses.dataclass(frozen=True)
class Effort:
    """Say how much is done: `effort(1000, 20_000)` is the one or the other, `effort.random` belongs to one test."""

    torture: bool
    scale: float
    random: random.Random

    def __call__(self, quick: int, torture: int) -> int:
        return max(1, round(torture * self.scale)) if self.torture else quick


def _torture() -> bool:
    """Tell whether this is the long run."""
    return "RELIABILITY_SCALE" in os.environ


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "reliability" in item.path.parts:
            item.add_marker(pytest.mark.once)
            if _torture():
                item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture
def effort(request: pytest.FixtureRequest) -> Effort:
    """How much is done."""
    seed = os.environ.get("RELIABILITY_SEED") or request.config.getoption("randomly_seed", 0)
    scale = float(os.environ.get("RELIABILITY_SCALE", "1"))
    return Effort(_torture(), scale, random.Random(f"{seed} {request.node.name}"))


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """`record("A1", attempts=1000, failures=[], seen="...")`: keep a figure, then fail if anything failed."""

    def record_figure(row: str, part: str = "", *, attempts: int, failures: Sequence[object], seen: str = "") -> None:
        figure = Figure(row, part, attempts, len(failures), seen)
        keep(figure)
        if _torture():
            with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                print(f"\n    {figure}", flush=True)
        assert not failures, f"{figure}: {[str(failure) for failure in failures[:5]]}"

    return record_figure


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    """`proxy(port)`: a way to that port which can be harmed."""
    opened: list[Proxy] = []

    def open_proxy(port: int) -> Proxy:
        opened.append(Proxy(port))
        return opened[-1]

    yield open_proxy
    for each in opened:
        each.close()
