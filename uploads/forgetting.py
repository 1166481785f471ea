"""What no longer needs a row: files that came to nothing long ago, and batches of nothing else.

Announcing costs its sender next to nothing, so that what was announced, and never completed, must not stay for ever.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from uploads.models import Batch, StoredFile
from uploads.states import ACTIVE, Status

CAME_TO_NOTHING_KEPT = timedelta(days=30)  # from when it could no longer be resumed
AT_ONCE = 500  # so that nobody waits long for the database

CAME_TO_NOTHING = (Status.CANCELLED, Status.FAILED, Status.EXPIRED)


def forget_files(*, dry_run: bool = False) -> int:
    """Remove the rows of what came to nothing; returns of how many files.

    A batch goes as a whole: as long as one of its files was completed, or may be yet, its page tells of all of them.
    """
    if dry_run:
        return _forgettable().count()
    forgotten = 0
    while some := list(_forgettable().order_by("upload_expires_at").values_list("pk", "batch_id")[:AT_ONCE]):
        with transaction.atomic():
            StoredFile.objects.filter(pk__in=[file for file, _batch in some]).delete()
            Batch.objects.filter(pk__in={batch for _file, batch in some if batch}, files=None).delete()
        forgotten += len(some)
    return forgotten


def _forgettable() -> QuerySet[StoredFile]:
    long_ago = timezone.now() - CAME_TO_NOTHING_KEPT
    is_more = Q(status__in=ACTIVE) | Q(completed_at__isnull=False) | Q(upload_expires_at__gt=long_ago)
    others = StoredFile.objects.filter(is_more, batch=OuterRef("batch"))
    return StoredFile.objects.filter(
        ~Exists(others),
        status__in=CAME_TO_NOTHING,
        completed_at=None,
        quota_reserved=False,
        upload_expires_at__lte=long_ago,
    )
