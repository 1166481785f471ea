"""Other people's programs, as a person runs them."""

import asyncio
import os
import subprocess
from pathlib import Path


async def run(*command: str, cwd: Path) -> str:
    """What the program prints; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()
