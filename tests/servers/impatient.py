"""`manage.py serve` whose clocks for slow clients run out at once: see `directdrivex/deadlines.py`."""

import sys

from directdrivex import deadlines, outgoing
from manage import main

if __name__ == "__main__":
    deadlines.HEADER_SECONDS, deadlines.BODY_SECONDS, deadlines.STUCK_PEER_SECONDS = 1.0, 2.0, 3.0
    outgoing.STUCK_SECONDS = 3.0
    sys.argv = ["manage.py", "serve"]
    main()
