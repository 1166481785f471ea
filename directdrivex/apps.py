from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig
from django.utils.translation import gettext_lazy as _


class DirectDriveXConfig(AppConfig):
    name = "directdrivex"

    def ready(self) -> None:
        from directdrivex import checks  # noqa: F401 - registers the system checks


class DaphneConfig(AppConfig):
    """daphne for `runserver`. Its own configuration would load its server, and Twisted, at every start."""

    name = "daphne"
    verbose_name = "Daphne"


class SignInsConfig(AxesConfig):
    """The library that counts wrong passwords, under a name that tells an admin what it is about."""

    verbose_name = _("Sign-ins")


class AdminConfig(DjangoAdminConfig):
    """The stock admin on our own site object, so that dashboards are mounted in one place."""

    default_site = "directdrivex.admin.DirectDriveXAdminSite"
