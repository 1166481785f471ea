"""Limits of all and of single persons, what nobody may send, what was used on each UTC day. Sizes are in bytes."""

from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from quotas.fields import FileTypeField, NetworkField
from quotas.rules import ADDRESS, OwnLimits, account_person

UNLIMITED_SIZE = _("for example 2 GiB; empty means unlimited")
AS_AUDIENCE_SIZE = _("for example 50 GiB; empty means as everybody else")


class Environment(models.TextChoices):
    DEVELOPMENT = "development", _("development")
    STAGING = "staging", _("staging")
    PRODUCTION = "production", _("production")


class Audience(models.TextChoices):
    ANONYMOUS = "anonymous", _("anonymous")
    REGISTERED = "registered", _("registered")


class LimitProfile(models.Model):
    """The limits of one environment. Environment variables may override them: `services.limits_in_force`."""

    environment = models.CharField(_("environment"), max_length=16, choices=Environment, unique=True)
    limits_enforced = models.BooleanField(_("file and daily limits enforced"), default=True)
    max_memory_percent = models.PositiveSmallIntegerField(
        _("memory ceiling in percent"),
        default=80,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("new uploads wait while more of the machine's memory than this is in use"),
    )
    reserved_memory_bytes = models.BigIntegerField(
        _("memory kept free"),
        default=512 * 1024 * 1024,
        validators=[MinValueValidator(0)],
        help_text=_("for example 512 MiB; no upload may leave the machine with less"),
    )
    max_concurrent_uploads = models.PositiveIntegerField(
        _("slots for all"), default=20, validators=[MinValueValidator(1), MaxValueValidator(100_000)]
    )
    max_concurrent_uploads_per_user = models.PositiveIntegerField(
        _("slots per person"), default=5, validators=[MinValueValidator(1), MaxValueValidator(100_000)]
    )
    max_queued_uploads = models.PositiveIntegerField(
        _("places in the line"), default=500, validators=[MaxValueValidator(1_000_000)]
    )

    class Meta:
        verbose_name = _("limit profile")
        verbose_name_plural = _("limit profiles")
        ordering: ClassVar = ["environment"]

    def __str__(self) -> str:
        return self.get_environment_display()


class AudienceLimit(models.Model):
    """What one audience of a profile may send; an empty field means unlimited."""

    profile = models.ForeignKey(
        LimitProfile, on_delete=models.CASCADE, related_name="audience_limits", verbose_name=_("limit profile")
    )
    audience = models.CharField(_("audience"), max_length=16, choices=Audience)
    file_bytes = models.BigIntegerField(
        _("largest file"), null=True, blank=True, validators=[MinValueValidator(0)], help_text=UNLIMITED_SIZE
    )
    daily_bytes = models.BigIntegerField(
        _("total a day"), null=True, blank=True, validators=[MinValueValidator(0)], help_text=UNLIMITED_SIZE
    )
    daily_files = models.PositiveIntegerField(
        _("files a day"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(1_000_000_000)],
        help_text=_("empty means unlimited"),
    )

    class Meta:
        verbose_name = _("audience limit")
        verbose_name_plural = _("audience limits")
        ordering: ClassVar = ["profile", "audience"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["profile", "audience"], name="one_limit_an_audience"),
        ]

    def __str__(self) -> str:
        return self.get_audience_display()


class AboutPerson(models.Model):
    """Something that an admin said of one person: of an account, or of an address or network without an account.

    It is in force before `until`, without anybody's doing; `services` and `networks.ByPerson` go by that.
    """

    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("account"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text=_("somebody who signs in; counts wherever they are"),
    )
    network = NetworkField(
        _("address or network"),
        blank=True,
        help_text=_("people without an account, for example 192.0.2.7, 192.0.2.0/24 or 2001:db8:1:2::/64"),
    )
    until = models.DateTimeField(
        _("until"), null=True, blank=True, help_text=_("in UTC; ends by itself at this moment; empty means for good")
    )

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account"],
                name="%(class)s_of_an_account",
                violation_error_message=_("There is an entry for this account already; change that one."),
            ),
            models.UniqueConstraint(
                fields=["network"],
                name="%(class)s_of_a_network",
                condition=~models.Q(network=""),
                violation_error_message=_("There is an entry for this address or network already; change that one."),
            ),
            models.CheckConstraint(
                condition=models.Q(account=None, network__gt="") | models.Q(account__isnull=False, network=""),
                name="%(class)s_of_somebody",
                violation_error_message=_("Name either an account, or an address or network."),
            ),
        ]

    def __str__(self) -> str:
        return self.account.get_username() if self.account else self.network

    @property
    def key(self) -> str:
        """As the key of a person, or of many where it is a network."""
        return account_person(self.account_id).key if self.account_id else f"{ADDRESS}{self.network}"

    def in_force(self, now: datetime) -> bool:
        return self.until is None or now < self.until


class PersonLimit(AboutPerson):
    """What one person may send in place of their audience; an empty field means as the audience."""

    file_bytes = models.BigIntegerField(
        _("largest file"), null=True, blank=True, validators=[MinValueValidator(0)], help_text=AS_AUDIENCE_SIZE
    )
    daily_bytes = models.BigIntegerField(
        _("total a day"), null=True, blank=True, validators=[MinValueValidator(0)], help_text=AS_AUDIENCE_SIZE
    )
    daily_files = models.PositiveIntegerField(
        _("files a day"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(1_000_000_000)],
        help_text=_("empty means as everybody else"),
    )
    no_limits = models.BooleanField(
        _("no limits at all"), default=False, help_text=_("everything is unlimited, whatever stands above")
    )
    note = models.CharField(_("note"), max_length=255, blank=True, help_text=_("for admins only"))

    class Meta(AboutPerson.Meta):
        verbose_name = _("limit of one person")
        verbose_name_plural = _("limits of single persons")
        ordering: ClassVar = ["account_id", "network"]


class BlockedPerson(AboutPerson):
    """Somebody who may not come in, by any door but the admin's; `closed` reads them."""

    reason = models.TextField(_("reason"), blank=True, help_text=_("for admins only; never shown to the person"))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("blocked by"),
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    created_at = models.DateTimeField(_("blocked on"), default=timezone.now, editable=False)

    class Meta(AboutPerson.Meta):
        verbose_name = _("blocked person")
        verbose_name_plural = _("blocked persons")
        ordering: ClassVar = ["-created_at", "-pk"]


class Maintenance(models.Model):
    """The switch that keeps everybody out, but for the admin pages and what watches the program: one row at most."""

    THE_ONE = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE, editable=False)
    on = models.BooleanField(_("on"), default=False)
    message = models.CharField(
        _("message"), max_length=300, blank=True, help_text=_("for people, in place of the usual sentence")
    )
    minutes = models.PositiveIntegerField(
        _("expected minutes"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_080)],
        help_text=_("how long it will take, from the switching on; people and programs are told when to come back"),
    )
    switched_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("switched by"),
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    switched_at = models.DateTimeField(_("switched at"), null=True, editable=False)

    class Meta:
        verbose_name = _("maintenance")
        verbose_name_plural = _("maintenance")
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=1), name="one_maintenance")]

    def __str__(self) -> str:
        return str(_("Maintenance is on") if self.on else _("Maintenance is off"))


class BlockedType(models.Model):
    """An extension or media type that nobody may send; seeded once, by a migration, and the operator's since then."""

    pattern = FileTypeField(
        _("extension or media type"),
        unique=True,
        help_text=_("for example scr, or application/hta, or image/* for all of a kind"),
        error_messages={"unique": _("This one stands there already.")},
    )
    note = models.CharField(_("note"), max_length=255, blank=True, help_text=_("for admins only"))

    class Meta:
        verbose_name = _("blocked file type")
        verbose_name_plural = _("blocked file types")
        ordering: ClassVar = ["pattern"]

    def __str__(self) -> str:
        return self.pattern if "/" in self.pattern else f".{self.pattern}"


class DailyUsage(models.Model):
    """What one person has used and reserved on one UTC day; changed only by `services`, each step one UPDATE."""

    person = models.CharField(_("person"), max_length=80)
    day = models.DateField(_("day"))
    used_bytes = models.BigIntegerField(_("used"), default=0)
    reserved_bytes = models.BigIntegerField(_("reserved"), default=0)
    files = models.PositiveIntegerField(_("files"), default=0)
    # Filled in where people are shown; not stored.
    account_name = ""
    own_limits: OwnLimits | None = None

    class Meta:
        verbose_name = _("daily use")
        verbose_name_plural = _("daily use")
        ordering: ClassVar = ["-day", "person"]
        indexes: ClassVar = [models.Index(fields=["-day", "person"], name="usage_by_day")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["person", "day"], name="one_usage_a_day"),
            models.CheckConstraint(condition=models.Q(used_bytes__gte=0), name="used_not_negative"),
            models.CheckConstraint(condition=models.Q(reserved_bytes__gte=0), name="reserved_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.who}, {date_format(self.day)}"

    @property
    def who(self) -> str:
        """The person as admins know them: an address, an account's name, or the key of an account that is gone."""
        return self.account_name or self.person.removeprefix(ADDRESS)
