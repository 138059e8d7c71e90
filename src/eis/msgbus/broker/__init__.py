"""A broker: publishers connect to its frontend, subscribers to its backend. Does not know what a message means.

`read` makes settings of files, `Broker` opens both sides and carries messages between them until it is closed.
"""

from eis.msgbus.broker.broker import Broker
from eis.msgbus.broker.settings import Settings, Side, read
from eis.msgbus.broker.stats import BrokerStats, TopicStats

__all__ = ["Broker", "BrokerStats", "Settings", "Side", "TopicStats", "read"]
