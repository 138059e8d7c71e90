"""What a user wrote, as a dict or a file, to frozen typed values. Opens no socket, looks at no directory.

`load` reads the file of a configuration and those of its keys; all that comes after it is pure.

Every error is an `InvalidConfig` with the dotted path of the key, what was expected and what came. A secret is in no
error and no repr.
"""

from eis.msgbus._config.entries import PUBLISH
from eis.msgbus._config.meaning import QUEUE_BYTES, Config
from eis.msgbus._config.source import Source, load, read_file, resolved
from eis.msgbus._config.values import Bind, ClientKeys, Clients, Connect, Directory, SharedMemory, Users

__all__ = [
    "PUBLISH",
    "QUEUE_BYTES",
    "Bind",
    "ClientKeys",
    "Clients",
    "Config",
    "Connect",
    "Directory",
    "SharedMemory",
    "Source",
    "Users",
    "load",
    "read_file",
    "resolved",
]
