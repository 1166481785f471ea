"""The admin site; the apps register their own pages on it."""

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _


class DirectDriveXAdminSite(AdminSite):
    site_title = "DirectDriveX"
    site_header = "DirectDriveX"
    index_title = _("Administration")
