"""The later name of `eis.msgbus`, for programs that import it. Knows nothing but that name."""

from eis.msgbus import *
from eis.msgbus import __all__
