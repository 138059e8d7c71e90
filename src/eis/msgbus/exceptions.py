"""Everything that is raised. Knows nothing else of the bus.

```
MsgbusException
├── MessageBusError                     misuse, or the bus cannot do what was asked
│   ├── InvalidConfig     (ValueError)  the configuration; `where` names the key
│   ├── InvalidMessage    (ValueError)  a message that has no form on the wire; `where` names the place
│   ├── AddressInUse      (OSError)     another program serves this address
│   └── NoMessage                       nothing was there, and the call was not to wait (also a ReceiveTimeout)
├── ReceiveTimeout        (TimeoutError)     nothing came in time
├── Disconnected          (ConnectionError)  the peer went away while its reply was awaited
└── MessageBusAuthenticationFailed           the peer refused us, or we cannot prove who we are
```

`MessageBusError`, `ReceiveTimeout`, `Disconnected` and `MessageBusAuthenticationFailed` are siblings, as in the
original library: a program that catches `MessageBusError` first keeps its meaning.
"""

from __future__ import annotations

__all__ = [
    "AddressInUse",
    "Disconnected",
    "InvalidConfig",
    "InvalidMessage",
    "MessageBusAuthenticationFailed",
    "MessageBusError",
    "MsgbusException",
    "NoMessage",
    "ReceiveTimeout",
]


class MsgbusException(Exception):
    """Be the root of everything that the bus raises on purpose."""


class MessageBusError(MsgbusException):
    """Say that the bus cannot do what was asked."""


class _Located(MessageBusError, ValueError):
    """Carry the place of a wrong value beside what is wrong with it."""

    subject = ""

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(problem, where)
        self.problem = problem
        self.where = where

    def __str__(self) -> str:
        place = " ".join(part for part in (self.subject, self.where) if part)
        return f"{place}: {self.problem}" if place else self.problem


class InvalidConfig(_Located):
    """Name the key of a configuration that is wrong, what was expected and what came.

    `where` is the dotted path of the key (`camera1.port`), `problem` the rest of the text.
    """

    subject = "config"


class InvalidMessage(_Located):
    """Name what in a message has no form on the wire or is too large, or what in received frames breaks its rules.

    `where` is the path of the value (`metadata.obj.x`), empty where the frames themselves are wrong.
    """


class AddressInUse(MessageBusError, OSError):
    """Say that a live program serves this address already."""


class ReceiveTimeout(MsgbusException, TimeoutError):
    """Say that no message came in time."""


class NoMessage(ReceiveTimeout, MessageBusError):
    """Say that no message was there when the call was not to wait: both a timeout and a MessageBusError."""


class Disconnected(MsgbusException, ConnectionError):
    """Say that the service went away before it replied."""


class MessageBusAuthenticationFailed(MsgbusException):
    """Say why a peer refused this endpoint; the endpoint keeps trying and recovers once it is allowed in."""
