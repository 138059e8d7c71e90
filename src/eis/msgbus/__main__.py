"""`python -m eis.msgbus` is the command `msgbus`."""

import sys

from eis.msgbus.tools import main

if __name__ == "__main__":
    sys.exit(main())
