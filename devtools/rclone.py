"""rclone as another client of the Drive emulator, told what docs/emulator.md tells people to tell it."""

import os
import re
from pathlib import Path

from devtools.emulator_process import EmulatorProcess
from devtools.server_process import ROOT

REMOTE = "drive:"


def configuration(emulator: EmulatorProcess) -> str:
    """What stands on that page, for this emulator's port."""
    found = re.search(r"<<END\n(.*?)END\n", (ROOT / "docs" / "emulator.md").read_text(), re.DOTALL)
    assert found
    return found[1].replace("http://127.0.0.1:8090", emulator.url)


def environment(emulator: EmulatorProcess, folder: Path) -> dict[str, str]:
    """The environment for rclone's process; its configuration, with the remote `drive:`, is put into `folder`."""
    config = folder / "rclone.conf"
    config.write_text(configuration(emulator))
    return {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")} | {
        "HTTPS_PROXY": emulator.url,
        "RCLONE_CA_CERT": str(emulator.authority),
        "RCLONE_CONFIG": str(config),
        "RCLONE_DRIVE_PACER_MIN_SLEEP": "1ms",
    }
