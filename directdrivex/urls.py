"""Where the apps' addresses hang."""

from typing import NoReturn

from django.contrib import admin
from django.http import Http404, HttpRequest
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from monitoring.api import router as monitoring_router
from uploads.api import api

api.add_router("/v1", monitoring_router)


@csrf_exempt  # there is nothing here to protect, and the answer is the same for every method
def no_such_call(request: HttpRequest) -> NoReturn:
    """An unknown path under `/api`: the problem middleware makes a problem document of this."""
    raise Http404


handler404 = "uploads.problems.not_found"
handler500 = "uploads.problems.server_error"
urlpatterns = [
    path("admin/", admin.site.urls),
    re_path(r"^api/?$", no_such_call),  # the framework has a page for its root, with rules of its own
    path("api/", api.urls),
    re_path(r"^api(?:/.*)?$", no_such_call),
    path("", include("monitoring.urls")),
    path("", include("uploads.urls")),
]
