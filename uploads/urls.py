"""The addresses of the program's own pages, and of the API."""

from typing import Any

from django.urls import include, path
from django.views.decorators.cache import cache_control
from django.views.i18n import JavaScriptCatalog

from uploads import pages

# Asked for again each time: it depends on the language, and its words must fit the modules of the same release.
catalog = cache_control(private=True, no_cache=True)(JavaScriptCatalog.as_view(domain="djangojs"))

urlpatterns: list[Any] = [
    path("", pages.upload_page, name="upload"),
    path("f/<uuid:file_id>", pages.share_page, name="share"),
    path("preview/<uuid:file_id>", pages.preview_page, name="preview"),
    path("f/<uuid:file_id>/unlock", pages.unlock_file, name="unlock-file"),
    path("b/<uuid:batch_id>/unlock", pages.unlock_batch, name="unlock-batch"),
    path("b/<uuid:batch_id>", pages.batch_page, name="batch"),
    path("accounts/", include("uploads.accounts")),
    path("jsi18n/", catalog, name="jsi18n"),
    path("i18n/", include("django.conf.urls.i18n")),
]
