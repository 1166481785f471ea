from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class DirectDriveXConfig(AppConfig):
    name = "directdrivex"

    def ready(self) -> None:
        from directdrivex import checks  # noqa: F401 - registers the system checks


class AdminConfig(DjangoAdminConfig):
    """The stock admin on our own site object, so that dashboards are mounted in one place."""

    default_site = "directdrivex.admin.DirectDriveXAdminSite"
