"""Where the apps' addresses hang."""

from typing import NoReturn

from django.contrib import admin
from django.http import Http404, HttpRequest
from django.urls import include, path, re_path

from monitoring.api import router as monitoring_router
from uploads.api import api

api.add_router("/v1", monitoring_router)


def no_such_call(request: HttpRequest) -> NoReturn:
    """An unknown path under `/api`: the problem middleware makes a problem document of this."""
    raise Http404


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    re_path(r"^api(?:/.*)?$", no_such_call),
    path("", include("monitoring.urls")),
    path("", include("uploads.urls")),
]
