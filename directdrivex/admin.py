"""The admin site; the apps register their own pages on it, and the live page is mounted here."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import path
from django.utils.translation import gettext_lazy as _


class DirectDriveXAdminSite(AdminSite):
    site_title = "DirectDriveX"
    site_header = "DirectDriveX"
    index_title = _("Administration")

    def get_urls(self) -> list[Any]:
        from monitoring import views

        live = path("monitoring/live/", self.admin_view(views.live), {"site": self}, name="live")
        return [live, *super().get_urls()]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Every page says whether maintenance keeps people out: nobody should forget that it does."""
        from quotas.models import Maintenance

        context = super().each_context(request)
        if context["has_permission"]:
            context["maintenance"] = Maintenance.objects.filter(on=True).first()
            context["may_switch_maintenance"] = request.user.has_perm("quotas.change_maintenance")
        return context
