"""The `interfaces` of an EIS/EII application, its keys and environment, to configurations of the bus. Opens no socket.

An application has four lists: `Publishers`, `Subscribers`, `Servers` and `Clients`. Each entry becomes the dict that
goes into `MsgbusContext`, by the rules of the original's configuration manager.
"""

from eis.msgbus.exceptions import InvalidConfig
from eis.msgbus.interfaces.application import Application
from eis.msgbus.interfaces.entry import Interface
from eis.msgbus.interfaces.environment import from_environment
from eis.msgbus.interfaces.store import Keys, read_keys

__all__ = ["Application", "Interface", "InvalidConfig", "Keys", "from_environment", "read_keys"]
