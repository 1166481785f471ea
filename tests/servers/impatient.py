"""`manage.py serve` whose clocks for slow clients run out at once: see `directdrivex/deadlines.py`."""

import sys

from directdrivex import deadlines
from manage import main

if __name__ == "__main__":
    deadlines.HEADER_SECONDS, deadlines.BODY_SECONDS, deadlines.STUCK_PEER_MILLISECONDS = 1.0, 2.0, 3000
    sys.argv = ["manage.py", "serve"]
    main()
