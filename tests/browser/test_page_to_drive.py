"""From the page to Google Drive and back by somebody else's program: the same code as in `make trials`."""

from pathlib import Path

from devtools import page_to_drive

MIB = 1024 * 1024


def test_a_file_goes_through_the_page_to_drive_and_comes_back_equal_by_rclone(tmp_path: Path) -> None:
    journey = page_to_drive.run(tmp_path, 20 * MIB + 7, seed=5)
    assert journey.size == 20 * MIB + 7
