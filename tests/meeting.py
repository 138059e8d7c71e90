"""How threads of a test meet: by a condition that comes true, within a deadline. Knows nothing of the bus."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

DEADLINE = 20.0  # seconds; a busy machine is no bug


def until(condition: Callable[[], object]) -> None:
    """Give way to the other threads until `condition` is true."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the other side never got there"
        os.sched_yield()


@contextmanager
def threads(count: int = 1) -> Iterator[ThreadPoolExecutor]:
    """Run calls in `count` threads, which end with the block."""
    with ThreadPoolExecutor(count) as pool:
        yield pool
