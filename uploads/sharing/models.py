"""What the database keeps of who may have a file or a batch, and of downloads that were counted."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class ShareControls(models.Model):
    """How those who have its link may have what was sent: set by the sender when it is announced, or later."""

    # Never shown to anybody, an admin included.
    password_hash = models.CharField(max_length=255, blank=True, editable=False)
    max_downloads = models.PositiveIntegerField(_("downloads allowed"), null=True, blank=True)
    downloads = models.PositiveIntegerField(_("downloads counted"), default=0)
    expires_in = models.PositiveIntegerField(
        _("seconds to be kept"), null=True, blank=True, help_text=_("from completion on, as the sender wished")
    )
    revoked_at = models.DateTimeField(_("link withdrawn"), null=True, blank=True)

    class Meta:
        abstract = True


class CountedDownload(models.Model):
    """A download by one recipient that was counted: for a day, further ranges of it are the same download.

    `subject` is the id of the file, or of the batch whose ZIP it is; `recipient` a digest; `given` bytes, with those
    that are about to be. `files` are those files in the ZIP that have a limit of their own, by their ids, each with how
    much of it was given: they stay in it for this download, also where it was the last that they allow.
    """

    subject = models.UUIDField()
    recipient = models.CharField(max_length=64)
    begun_at = models.DateTimeField()
    given = models.BigIntegerField(default=0)
    files = models.JSONField(default=list)

    class Meta:
        verbose_name = _("counted download")
        verbose_name_plural = _("counted downloads")
        indexes: ClassVar = [
            models.Index(fields=["subject", "recipient"], name="download_by_recipient"),
            models.Index(fields=["begun_at"], name="download_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.begun_at}"
