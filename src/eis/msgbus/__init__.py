"""The EIS/EII message bus in Python: publish/subscribe and request/response between processes, without a broker.

import eis.msgbus as mb

with mb.MsgbusContext({"type": "zmq_ipc", "socket_dir": "/run/bus"}) as bus:
    publisher = bus.new_publisher("camera1")
    publisher.publish(({"frame_number": 1}, frame))
"""

from eis.msgbus._endpoint import Stats
from eis.msgbus._status import Status
from eis.msgbus.context import MsgbusContext, Publisher, Requester, Service, Subscriber
from eis.msgbus.envelope import MsgEnvelope
from eis.msgbus.exceptions import (
    AddressInUse,
    Disconnected,
    InvalidConfig,
    InvalidMessage,
    MessageBusAuthenticationFailed,
    MessageBusError,
    MsgbusException,
    NoMessage,
    ReceiveTimeout,
)

__all__ = [
    "AddressInUse",
    "Disconnected",
    "InvalidConfig",
    "InvalidMessage",
    "MessageBusAuthenticationFailed",
    "MessageBusError",
    "MsgEnvelope",
    "MsgbusContext",
    "MsgbusException",
    "NoMessage",
    "Publisher",
    "ReceiveTimeout",
    "Requester",
    "Service",
    "Stats",
    "Status",
    "Subscriber",
]
