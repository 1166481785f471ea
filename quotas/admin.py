"""Limit profiles, with what is in force and why; and each person's daily use, to look at."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from quotas import words
from quotas.forms import ByteSizeField, ByteSizeInput, LimitProfileForm
from quotas.hints import limits_changed
from quotas.models import AudienceLimit, DailyUsage, LimitProfile
from quotas.rules import account_person
from quotas.sizes import short_size

SIZES: dict[type[models.Field], dict[str, Any]] = {
    models.BigIntegerField: {"form_class": ByteSizeField, "widget": ByteSizeInput}
}
MOST_ACCOUNTS_FOUND = 200


class AudienceLimitInline(admin.StackedInline):
    model = AudienceLimit
    fields = ("file_bytes", "daily_bytes", "daily_files")
    extra = 0
    can_delete = False
    formfield_overrides = SIZES

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # there is one for each audience, made with the profile


@admin.register(LimitProfile)
class LimitProfileAdmin(admin.ModelAdmin):
    """Profiles are made by `services.seed_profiles`, one an environment; here they are changed, never added."""

    form = LimitProfileForm
    inlines = (AudienceLimitInline,)
    formfield_overrides = SIZES
    list_display = (
        "environment",
        "is_in_force",
        "limits_enforced",
        "max_concurrent_uploads",
        "max_concurrent_uploads_per_user",
        "max_queued_uploads",
    )
    readonly_fields = ("environment",)
    fieldsets = (
        (None, {"fields": ("environment", "limits_enforced")}),
        (
            _("Slots and line"),
            {"fields": ("max_concurrent_uploads", "max_concurrent_uploads_per_user", "max_queued_uploads")},
        ),
        (_("Memory"), {"fields": ("max_memory_percent", "reserved_memory_bytes")}),
    )
    actions = None

    class Media:
        css: ClassVar = {"all": ("quotas/admin.css",)}

    @admin.display(description=_("in force here"), boolean=True)
    def is_in_force(self, profile: LimitProfile) -> bool:
        return profile.environment == settings.ENVIRONMENT

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**self._in_force(), **(extra_context or {})})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        profile = context["original"]
        context.update(self._in_force(), other_environment=profile and not self.is_in_force(profile))
        return super().render_change_form(request, context, *args, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        for sentence in words.advice(form.instance, form.changed_data):
            messages.warning(request, sentence)
        # Robust: the change is in force as soon as it is committed, whether or not the hint gets through.
        transaction.on_commit(limits_changed, robust=True)

    def _in_force(self) -> dict[str, Any]:
        return {"limit_lines": words.lines_in_force(), "active_environment": words.active_environment()}


class NamedUsages(ChangeList):
    """A page of daily use on which each row knows the name of its account, in one query for them all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        name_accounts(self.result_list)


@admin.register(DailyUsage)
class DailyUsageAdmin(admin.ModelAdmin):
    """Read-only: the figures belong to `services`."""

    list_display = ("who", "day", "used", "reserved", "files")
    fields = ("who", "person", "day", "used", "reserved", "files")
    list_filter = ("day",)
    date_hierarchy = "day"
    search_fields = ("person",)
    search_help_text = _("an address such as 192.0.2.7, or the name or e-mail of an account")
    show_full_result_count = False
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NamedUsages

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> DailyUsage | None:
        usage = super().get_object(request, object_id, from_field)
        name_accounts([usage] if usage else [])
        return usage

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DailyUsage], search_term: str
    ) -> tuple[QuerySet[DailyUsage], bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if search_term:
            accounts = get_user_model()._default_manager.filter(
                Q(username__icontains=search_term) | Q(email__icontains=search_term)
            )
            keys = [account_person(pk).key for pk in accounts.values_list("pk", flat=True)[:MOST_ACCOUNTS_FOUND]]
            found |= queryset.filter(person__in=keys)
        return found, duplicates

    @admin.display(description=_("person"), ordering="person")
    def who(self, usage: DailyUsage) -> str:
        return usage.account_name or usage.person

    @admin.display(description=_("used"), ordering="used_bytes")
    def used(self, usage: DailyUsage) -> str:
        return short_size(usage.used_bytes)

    @admin.display(description=_("reserved"), ordering="reserved_bytes")
    def reserved(self, usage: DailyUsage) -> str:
        return short_size(usage.reserved_bytes)


def name_accounts(usages: Iterable[DailyUsage]) -> None:
    """Fill in `account_name` of each of these rows whose account still exists."""
    prefix = account_person(0).key.removesuffix("0")
    accounts = {usage: int(usage.person.removeprefix(prefix)) for usage in usages if usage.person.startswith(prefix)}
    names = get_user_model()._default_manager.in_bulk(set(accounts.values()))
    for usage, account_id in accounts.items():
        if account_id in names:
            usage.account_name = names[account_id].get_username()
