"""Fixtures of the tests of monitoring."""

from typing import Any

import pytest
from django.utils import timezone

from uploads.drive_models import DriveAccount
from uploads.storage.gdrive import circuits, ledger, troubles


@pytest.fixture
def two_accounts(transactional_db: None, settings: Any) -> None:
    """Files go to Drive, where one account works and one fails; a third is off."""
    settings.STORAGE = "gdrive"
    now = timezone.now()
    sound = DriveAccount.objects.create(name="sound", checked_at=now, room_bytes=5077, reserve_bytes=0)
    sick = DriveAccount.objects.create(name="sick", checked_at=now)
    DriveAccount.objects.create(name="away", checked_at=now, enabled=False)
    ledger.count(sound.pk, None, 77, now)
    circuits.failed(sick.pk, now, troubles.REVOKED, "invalid_grant", at_once=True)
