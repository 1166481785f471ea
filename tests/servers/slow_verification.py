"""`manage.py serve` on a storage that takes a while to finish a file, so that there is time to be rude meanwhile."""

import asyncio
import os
import sys

from manage import main
from uploads.storage.base import OwnDigest
from uploads.storage.local import LocalPartial

WAIT_SECONDS = float(os.environ.get("VERIFICATION_SECONDS", "1.0"))


async def finish_slowly(self: LocalPartial) -> OwnDigest:
    await asyncio.sleep(WAIT_SECONDS)
    return await finish(self)


if __name__ == "__main__":
    finish = LocalPartial.finish
    LocalPartial.finish = finish_slowly  # type: ignore[method-assign]
    sys.argv = ["manage.py", "serve"]
    main()
