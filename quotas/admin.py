"""Limit profiles, with what is in force and why, and file types that nobody may send."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from quotas import admin_doors, admin_people, admin_usage, words  # noqa: F401 - Django looks for pages here alone
from quotas.forms import SIZES, LimitProfileForm
from quotas.hints import limits_changed
from quotas.models import AudienceLimit, BlockedType, LimitProfile


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


@admin.register(BlockedType)
class BlockedTypeAdmin(admin.ModelAdmin):
    """In force for the next file that is announced; what was announced before may still come."""

    list_display = ("shown_pattern", "note")
    search_fields = ("pattern", "note")

    @admin.display(description=_("extension or media type"), ordering="pattern")
    def shown_pattern(self, blocked: BlockedType) -> str:
        return str(blocked)
