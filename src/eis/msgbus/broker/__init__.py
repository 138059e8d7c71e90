"""A broker between publishers and subscribers, or between who asks and services. Does not know what a message means.

`read` makes settings of files, `Broker` opens all sides and carries what comes between them until it is closed.
"""

from eis.msgbus.broker.broker import Broker
from eis.msgbus.broker.settings import LastValue, Service, Settings, Side, read
from eis.msgbus.broker.stats import BackendStats, BrokerStats, LastValueStats, ServiceStats, TopicStats

__all__ = [
    "BackendStats",
    "Broker",
    "BrokerStats",
    "LastValue",
    "LastValueStats",
    "Service",
    "ServiceStats",
    "Settings",
    "Side",
    "TopicStats",
    "read",
]
