"""Who is kept out: blocked persons, and the switch that shuts the doors for everybody. The admin itself stays open."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from quotas.admin_people import AboutPersonAdmin
from quotas.models import BlockedPerson, Maintenance


@admin.register(BlockedPerson)
class BlockedPersonAdmin(AboutPersonAdmin):
    """In force within seconds: running uploads of the person end, and stay as they are."""

    list_display = ("who", "counts_now", "until", "shown_reason", "created_by", "created_at")
    list_select_related = ("account", "created_by")
    search_fields = (*AboutPersonAdmin.search_fields, "reason")
    readonly_fields = ("created_by", "created_at")
    fieldsets = (
        (_("Who is kept out"), {"fields": ("account", "network")}),
        (_("How long and why"), {"fields": ("until", "reason")}),
        (None, {"fields": ("created_by", "created_at")}),
    )

    @admin.display(description=_("reason"))
    def shown_reason(self, block: BlockedPerson) -> str:
        return block.reason[:80] or "–"

    def save_model(self, request: HttpRequest, obj: BlockedPerson, form: Any, change: bool) -> None:
        if not change:
            obj.created_by_id = request.user.pk
        super().save_model(request, obj, form, change)
        if obj.account_id and obj.account_id == request.user.pk:
            messages.warning(request, _("That is you. These pages stay open to you; everything else is shut."))


@admin.register(Maintenance)
class MaintenanceAdmin(admin.ModelAdmin):
    """One page for the one row, which is made when somebody first saves it."""

    fields = ("on", "message", "minutes", "switched_by", "switched_at")
    readonly_fields = ("switched_by", "switched_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        switch = path("switch/", self.admin_site.admin_view(self.switch_view), name="quotas_maintenance_switch")
        return [switch, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(
            reverse(f"{self.admin_site.name}:quotas_maintenance_change", args=[Maintenance.THE_ONE])
        )

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Maintenance | None:
        found = super().get_object(request, object_id, from_field)
        # Looking changes nothing: the switch that nobody has touched yet is off, and has no row.
        is_untouched = found is None and object_id == str(Maintenance.THE_ONE)
        return Maintenance(pk=Maintenance.THE_ONE) if is_untouched else found

    def save_model(self, request: HttpRequest, obj: Maintenance, form: Any, change: bool) -> None:
        if "on" in form.changed_data:
            _note_switch(request, obj)
        super().save_model(request, obj, form, change)

    def switch_view(self, request: HttpRequest) -> HttpResponse:
        """Switch to what the button says, so that two admins who press it at once agree."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        switch, _made = Maintenance.objects.get_or_create(pk=Maintenance.THE_ONE)
        wanted = request.POST.get("to") == "on"
        if switch.on != wanted:
            switch.on = wanted
            _note_switch(request, switch)
            switch.save()
            self.log_change(request, switch, str(switch))
        self.message_user(request, str(switch), messages.WARNING if switch.on else messages.SUCCESS)
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:index"))


def _note_switch(request: HttpRequest, switch: Maintenance) -> None:
    switch.switched_by_id, switch.switched_at = request.user.pk, timezone.now()
