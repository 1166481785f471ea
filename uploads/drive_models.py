"""The pool of Google Drive accounts: what each is, how it fares, and what it took in the last day. Sizes are in bytes.

Rows of use are changed by `storage/gdrive/ledger.py` alone, circuits by `storage/gdrive/circuits.py`.
"""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from uploads.storage.gdrive.budget import DRIVE_DAY_BYTES


class Kind(models.TextChoices):
    OAUTH = "oauth", _("a person's account (OAuth)")
    SERVICE = "service", _("service account on a shared drive")


class CircuitColumns(models.Model):
    """What `storage.breaker.Circuit` is made of, and why it failed last."""

    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    failing_since = models.DateTimeField(_("failing since"), null=True, editable=False)
    openings = models.PositiveIntegerField(default=0, editable=False)
    retry_at = models.DateTimeField(_("tried again at"), null=True, editable=False)
    trying = models.BooleanField(default=False, editable=False)
    error_code = models.CharField(_("trouble"), max_length=32, blank=True, editable=False)
    last_error = models.TextField(_("true cause"), blank=True, editable=False)

    class Meta:
        abstract = True


class StorageCircuit(CircuitColumns):
    """The circuit round a storage as a whole, whichever account is asked."""

    name = models.CharField(max_length=16, primary_key=True)

    class Meta:
        verbose_name = _("circuit of a storage")
        verbose_name_plural = _("circuits of storages")

    def __str__(self) -> str:
        return self.name


class DriveAccount(CircuitColumns):
    """One account that files are stored with. What it may be asked with is sealed (`uploads/secrets.py`)."""

    name = models.CharField(_("name"), max_length=60, unique=True)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.OAUTH)
    # A JSON object: client_id, client_secret and refresh_token; or a service account's key file.
    sealed_credentials = models.TextField(blank=True, editable=False)
    identity = models.CharField(_("Google account"), max_length=255, blank=True, editable=False)
    folder_id = models.CharField(
        _("folder"),
        max_length=128,
        blank=True,
        help_text=_(
            "address or id of the folder, or of the shared drive, that files go to; empty means the top of “My Drive”"
        ),
    )
    drive_id = models.CharField(_("shared drive"), max_length=128, blank=True, editable=False)

    enabled = models.BooleanField(
        _("switched on"),
        default=True,
        help_text=_("an account that is off gets no new uploads; its files stay and can be downloaded"),
    )
    priority = models.PositiveSmallIntegerField(
        _("priority"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("accounts with a smaller number are filled first; among equals the one with most left"),
    )
    reserve_bytes = models.BigIntegerField(
        _("room kept free"),
        default=1024**3,
        validators=[MinValueValidator(0)],
        help_text=_("for example 1 GiB; no upload may leave the account with less"),
    )
    daily_bytes = models.BigIntegerField(
        _("budget of 24 hours"),
        default=DRIVE_DAY_BYTES,
        validators=[MinValueValidator(1)],
        help_text=_("for example 750 GB, which is what Drive takes; lower it if others use the account too"),
    )

    # Room as Drive said it, less what was stored since; null where Drive does not say.
    room_bytes = models.BigIntegerField(_("room"), null=True, editable=False)
    checked_at = models.DateTimeField(_("checked"), null=True, editable=False)
    refused_until = models.DateTimeField(_("day refused until"), null=True, editable=False)
    full_until = models.DateTimeField(_("full until"), null=True, editable=False)

    class Meta:
        verbose_name = _("Drive account")
        verbose_name_plural = _("Drive accounts")
        ordering: ClassVar = ["priority", "name"]

    def __str__(self) -> str:
        return self.name


class DriveHour(models.Model):
    """What one account stored in the hour that began at `hour`."""

    account = models.ForeignKey(DriveAccount, on_delete=models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    length = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["account", "hour"], name="one_drive_hour")]

    def __str__(self) -> str:
        return f"{self.account_id} {self.hour}"


class DriveBooking(models.Model):
    """What is reserved of an account for one running upload, less what has been stored of it since."""

    account = models.ForeignKey(DriveAccount, on_delete=models.CASCADE, related_name="bookings")
    length = models.BigIntegerField()
    until = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["account", "until"], name="drive_booking_alive")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(length__gte=0), name="drive_booking_not_negative")
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.length}"


class DriveUpload(models.Model):
    """An upload's session on Drive, and then where its file lies: one row for each, by the upload's key.

    Written by `storage/gdrive/rows.py` alone. `holder` has it open for writing until `held_until`.
    """

    key = models.UUIDField(primary_key=True, editable=False)
    # No foreign key: a row without its account still says what is to be forgotten.
    account_id = models.BigIntegerField(null=True)
    file_id = models.CharField(max_length=128, blank=True)
    size = models.BigIntegerField(default=0)
    sealed_url = models.TextField(blank=True)
    offset = models.BigIntegerField(default=0)
    hashed_bytes = models.BigIntegerField(default=0)
    crc32 = models.BigIntegerField(default=0)
    sha256_state = models.BinaryField(null=True)
    finished = models.BooleanField(default=False)
    saved_at = models.DateTimeField()

    holder = models.CharField(max_length=200, blank=True)
    held_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("upload to Drive")
        verbose_name_plural = _("uploads to Drive")
        indexes: ClassVar = [models.Index(fields=["account_id"], name="drive_upload_by_account")]

    def __str__(self) -> str:
        return str(self.key)
