"""Messages within one process: the double for the tests of a program, and the example for authors of transports.

Contexts with the same `hub` reach each other. Addresses, keys and queues of the other modes have no meaning here, so
a configuration for tests is `{"type": "memory"}`.
"""

from eis.msgbus.transports.memory.transport import MemoryTransport

__all__ = ["MemoryTransport"]
