"""The live page of the admin; its numbers come by the socket of `consumer.py`."""

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

# The page's script puts an upload's id in the place of this one.
ANY_FILE = "00000000-0000-0000-0000-000000000000"


@require_safe
def live(request: HttpRequest, site: AdminSite) -> TemplateResponse:
    """Slots, line, memory and today's use, for staff; the buttons only for those who may change files."""
    context = {
        **site.each_context(request),
        "title": _("Live"),
        "environment": settings.ENVIRONMENT,
        "socket": "/ws_api/admin/live",
        "may_steer": request.user.has_perm("uploads.change_storedfile"),
        "file_address": reverse(f"{site.name}:uploads_storedfile_change", args=[ANY_FILE]),
        "steer_address": reverse(f"{site.name}:uploads_storedfile_steer", args=[ANY_FILE, "act"]),
    }
    return TemplateResponse(request, "admin/monitoring/live.html", context)
