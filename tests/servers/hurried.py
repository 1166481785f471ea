"""`manage.py serve` that soon has enough of slow readers, and of waiting: see `uploads/delivery/line.py`."""

import sys

from manage import main
from uploads.delivery import line, reader

SECONDS = 4.0

if __name__ == "__main__":
    reader.CREDIT_BYTES = SECONDS * reader.FLOOR_BYTES_PER_SECOND
    line.PATIENCE_SECONDS = 2 * SECONDS
    sys.argv = ["manage.py", "serve"]
    main()
