"""A hub of the memory transport that belongs to one test, and the raw side of it for what no endpoint would send."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from eis.msgbus.transports.memory import MemoryTransport


def new_hub() -> dict[str, Any]:
    """Return a configuration that nobody else uses."""
    return {"type": "memory", "hub": uuid.uuid4().hex}


@contextmanager
def raw(config: dict[str, Any]) -> Iterator[MemoryTransport]:
    """Open the hub without the bus: channels that carry any frames."""
    with closing(MemoryTransport(config)) as transport:
        yield transport
