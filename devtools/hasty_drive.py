"""`manage.py serve` that waits for Drive in fractions of a second, where the real one takes seconds and minutes."""

import sys

from manage import main
from uploads.storage.gdrive.patience import Patience

HASTY = Patience(connect=2, answer=2, stall=2, idle=1, first=0.05, longest=0.5, enough=3, brief=1)

if __name__ == "__main__":
    import django

    django.setup()
    from uploads.intake import session
    from uploads.storage.gdrive import partial, wiring

    wiring.PATIENCE = HASTY
    partial.RENEW_SECONDS = 0.25
    session.STORAGE_POLL_SECONDS = 0.5
    sys.argv = ["manage.py", "serve"]
    main()
