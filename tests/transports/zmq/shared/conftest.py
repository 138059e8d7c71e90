"""Fixtures of shared frames: a publisher's side, and subscribers that fetched from it."""

import dataclasses
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("shared frames need Linux", allow_module_level=True)

import eis.msgbus as mb
from eis.msgbus.transports.zmq.shared import Fetcher, HandOut, Pool, hand_out_path
from tests.transports.zmq.helpers import Sides

PAGE = os.sysconf("SC_PAGESIZE")
SMALLEST = 16 * PAGE  # a slot


@pytest.fixture
def sides(make_sides: Callable[[str], Sides]) -> Sides:
    """Both sides, in the mode that shares frames."""
    return make_sides("ipc")


@pytest.fixture
def bus(server: mb.MsgbusContext) -> mb.MsgbusContext:
    """A context for both sides."""
    return server


@dataclasses.dataclass
class Side:
    """Be a publisher: a pool and its hand-out at `path`."""

    path: str
    hand_out: HandOut
    pool: Pool
    fetchers: list[Fetcher] = dataclasses.field(default_factory=list)

    def fetcher(self) -> Fetcher:
        """Return a subscriber's side that is served."""
        nonce = os.urandom(8)
        fetcher = Fetcher.connect(self.path, nonce)
        assert fetcher is not None
        self.fetchers.append(fetcher)
        assert self.hand_out.serve(nonce)
        return fetcher

    def close(self) -> None:
        self.pool.close()
        self.hand_out.close()
        for fetcher in self.fetchers:
            fetcher.close()


Publish = Callable[..., Side]


@pytest.fixture
def publish(socket_dir: Path) -> Iterator[Publish]:
    """`publish(slots=2)`: a publisher's side, closed after the test."""
    with ExitStack() as stack:

        def make(slots: int = 3, max_bytes: int = 64 << 20) -> Side:
            path = hand_out_path(str(socket_dir / "camera1"))
            assert path is not None
            hand_out = HandOut(path)
            side = Side(path, hand_out, Pool(slots, max_bytes, made=hand_out.offer))
            stack.callback(side.close)
            return side

        yield make


@pytest.fixture
def side(publish: Publish) -> Side:
    """A publisher's side of three slots."""
    return publish()


def descriptors() -> int:
    """Return how many descriptors the process has open."""
    gc.collect()  # what an earlier test raised may keep some
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # with the one that looks


def mapped_bytes() -> int:
    """Return how many bytes of shared frames the process has mapped."""
    gc.collect()
    total = 0
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if "/memfd:eis-msgbus" in line:
            begin, _, end = line.partition(" ")[0].partition("-")
            total += int(end, 16) - int(begin, 16)
    return total


def content(fetcher: Fetcher, descriptor: bytes | None) -> tuple[bytes, ...] | None:
    """Return a copy of the blobs that a descriptor names; None if they were overtaken."""
    assert descriptor is not None
    lease = fetcher.lease(descriptor)
    if lease is None:
        return None
    copies = tuple(map(bytes, lease.views))
    lease.release()
    return copies
