"""`make emulator`: serve on `EMULATOR_PORT` of this machine (0: a free port), with files under `DATA_DIR/emulator`."""

import asyncio
import os
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from devtools.emulator.server import HOST, serve
from devtools.server_process import ROOT
from directdrivex import env


def main() -> int:
    env.load_dotenv(ROOT / ".env")
    try:
        port = env.integer("EMULATOR_PORT", 8090, least=0, most=65535)
    except ImproperlyConfigured as error:
        print(f"The emulator cannot start: {error}", file=sys.stderr)
        return 1
    folder = Path(env.text("DATA_DIR") or ROOT / "var").absolute() / "emulator"

    def ready(address: str) -> None:
        print(f"The Drive emulator listens on {address}, and keeps its files in {folder}.", flush=True)

    try:
        asyncio.run(serve(folder, port, ready))
    except OSError as error:
        print(f"The emulator cannot start on {HOST} port {port}: {os.strerror(error.errno or 0)}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
