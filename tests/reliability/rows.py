"""The reliability plan: what is done in each row, and what is asked of it."""

import dataclasses

__all__ = ["ROWS", "Row"]


@dataclasses.dataclass(frozen=True)
class Row:
    """Say what is done, and the target."""

    done: str
    target: str


ROWS = {
    "A1": Row("clients with a wrong, unlisted or no key, PLAIN, ZMTP 1 and 2, no handshake", "0 get in"),
    "A3": Row("two publishers and two services, each with a list of its own", "each client gets in at its own only"),
    "A7": Row("a proxy reads along", "the payload is never on the wire; without keys it is"),
}
