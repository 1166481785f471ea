"""Files and their history. Services change them; nothing else does, and no `save()` has side effects."""

import uuid
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from uploads.drive_models import DriveAccount, DriveBooking, DriveHour, DriveUpload, StorageCircuit  # noqa: F401 - Django finds tables here
from uploads.sharing.models import CountedDownload, ShareControls  # noqa: F401 - as above
from uploads.states import Status, status_at

STATUS_CHOICES = [
    (Status.PENDING, _("not complete")),
    (Status.VERIFYING, _("verifying")),
    (Status.COMPLETED, _("completed")),
    (Status.CANCELLED, _("cancelled")),
    (Status.FAILED, _("failed")),
    (Status.EXPIRED, _("expired")),
    (Status.DELETED, _("deleted")),
]


class Batch(ShareControls):
    """Files that were announced together and are passed on by one link. It stays when they are gone, as history."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(_("title"), max_length=255, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("owner"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="batches",
    )
    visitor = models.CharField(_("visitor"), max_length=64, blank=True, help_text=_("who sent it, without an account"))
    person = models.CharField(_("counts for"), max_length=80, help_text=_("account or address that limits count by"))
    idempotency_digest = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001 - null is unique any number of times
    created_at = models.DateTimeField(_("announced"))

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["-created_at"], name="batch_by_age")]

    def __str__(self) -> str:
        return self.title or str(self.pk)


class StoredFile(ShareControls):
    """One file that somebody sends: announced, uploaded, stored, and in the end gone. Sizes are in bytes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    filename = models.CharField(_("name"), max_length=255)
    size = models.BigIntegerField(_("size in bytes"))
    content_type = models.CharField(_("content type"), max_length=255, blank=True)
    status = models.CharField(_("state"), max_length=16, choices=STATUS_CHOICES, default=Status.PENDING)

    batch = models.ForeignKey(
        Batch,
        verbose_name=_("batch"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="files",
        db_index=False,  # `file_place_in_batch` is one
    )
    path = models.CharField(_("folder"), max_length=1024, blank=True)
    position = models.PositiveIntegerField(_("place in its batch"), default=0)

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("owner"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="stored_files",
    )
    visitor = models.CharField(_("visitor"), max_length=64, blank=True, help_text=_("who sent it, without an account"))
    person = models.CharField(_("counts for"), max_length=80, help_text=_("account or address that limits count by"))
    token_digest = models.CharField(max_length=64, editable=False)
    idempotency_digest = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001 - null is unique any number of times

    storage = models.CharField(_("storage"), max_length=16, default="local")
    stored_bytes = models.BigIntegerField(
        _("bytes stored"), default=0, help_text=_("as of the last checkpoint; the storage itself has the last word")
    )
    expected_sha256 = models.CharField(_("SHA-256 announced by the sender"), max_length=64, blank=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True)
    crc32 = models.BigIntegerField(_("CRC-32"), null=True, blank=True)
    receipt = models.JSONField(_("receipt"), null=True, blank=True)
    # Raised by each that opens the upload for writing: who has an older one has lost, and changes this row no more.
    epoch = models.PositiveBigIntegerField(default=0, editable=False)

    error_code = models.CharField(_("last error"), max_length=32, blank=True)
    error_detail = models.TextField(_("true cause"), blank=True)

    quota_day = models.DateField(_("counts on"))
    quota_reserved = models.BooleanField(default=False, help_text=_("its size is reserved in that day's quota"))

    created_at = models.DateTimeField(_("announced"))
    last_seen_at = models.DateTimeField(_("last connection"), null=True, blank=True)
    upload_expires_at = models.DateTimeField(_("can be resumed until"))
    completed_at = models.DateTimeField(_("completed"), null=True, blank=True)
    expires_at = models.DateTimeField(_("can be downloaded until"), null=True, blank=True)

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["status", "upload_expires_at"], name="file_by_upload_expiry"),
            models.Index(fields=["status", "expires_at"], name="file_by_expiry"),
            models.Index(fields=["owner", "-created_at"], name="file_by_owner"),
            models.Index(fields=["visitor", "-created_at"], name="file_by_visitor"),
            models.Index(fields=["-created_at"], name="file_by_age"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(size__gte=0), name="file_size_not_negative"),
            models.CheckConstraint(
                condition=models.Q(status__in=[status.value for status in Status]), name="file_status_known"
            ),
            models.UniqueConstraint(
                fields=["batch", "position"], condition=models.Q(batch__isnull=False), name="file_place_in_batch"
            ),
        ]

    def __str__(self) -> str:
        return self.filename

    def status_at(self, now: datetime) -> Status:
        """What it counts as at `now`, whether or not the cleanup has come by (`states.py`)."""
        return status_at(now, self.status, upload_expires_at=self.upload_expires_at, expires_at=self.expires_at)


class FileEvent(models.Model):
    """One row for each change of a file's state, and for each fault that left the state as it was."""

    file = models.ForeignKey(StoredFile, on_delete=models.CASCADE, related_name="events", verbose_name=_("file"))
    at = models.DateTimeField(_("when"))
    old_status = models.CharField(_("from"), max_length=16, blank=True)
    new_status = models.CharField(_("to"), max_length=16)
    code = models.CharField(_("code"), max_length=32, blank=True)
    detail = models.TextField(_("cause"), blank=True)
    actor = models.CharField(_("by"), max_length=80)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering: ClassVar = ["at", "id"]
        indexes: ClassVar = [models.Index(fields=["at"], name="event_by_age")]

    def __str__(self) -> str:
        return f"{self.old_status or '-'} → {self.new_status}"


class SlotStoreRun(models.Model):
    """The run of Redis that the slots were last seen in: after another one, nothing is granted for a while."""

    run = models.CharField(max_length=64)
    seen_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.run
