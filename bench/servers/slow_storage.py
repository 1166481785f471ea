"""`manage.py serve` on a storage that takes its time: every write waits, so that each upload fills its window."""

import asyncio
import sys
from collections.abc import Sequence

from manage import main
from uploads.storage.base import Buffer
from uploads.storage.local import LocalPartial

WAIT_SECONDS = 2.0


async def append_slowly(self: LocalPartial, blocks: Sequence[Buffer], at: int | None = None) -> None:
    await asyncio.sleep(WAIT_SECONDS)
    await append(self, blocks, at)


if __name__ == "__main__":
    append = LocalPartial.append
    LocalPartial.append = append_slowly  # type: ignore[method-assign]
    sys.argv = ["manage.py", "serve"]
    main()
