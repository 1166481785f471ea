"""`manage.py serve` whose connections believe that their upload is theirs, whatever happens elsewhere.

They hear of no change, notice no lost slot, and look at nothing before they write; only the row's epoch is left.
"""

import os
import sys

import django

django.setup()

from manage import main  # noqa: E402 - what is changed here needs the apps to be loaded
from uploads.intake.place import Place  # noqa: E402
from uploads.intake.session import UploadSession  # noqa: E402
from uploads.storage.local import LocalPartial  # noqa: E402


async def hear_nothing(*_: object) -> None:
    pass


if __name__ == "__main__":
    UploadSession.row_changed = lambda self: None  # type: ignore[method-assign]
    Place.watch = hear_nothing  # type: ignore[method-assign,assignment]
    LocalPartial._state = lambda self: os.fstat(self._descriptor)  # type: ignore[method-assign]
    sys.argv = ["manage.py", "serve"]
    main()
