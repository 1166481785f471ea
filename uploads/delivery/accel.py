"""Bytes on local disk handed over to nginx, which reads them itself (`X-Accel-Redirect`): `DOWNLOAD_ACCEL=nginx`.

Who may have which bytes is decided here as ever. nginx says with each request that it can, as `deploy/nginx` has it:
whoever asks the program itself gets the bytes from it.
"""

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from uploads.models import StoredFile
from uploads.storage.base import OnDisk, Store

LOCATION = "/_stored/"
OFFER = "X-Accel-Offer"
# nginx would judge these by the file on the disk, of which it knows neither ETag nor date.
OURS_TO_JUDGE = ("If-Match", "If-Unmodified-Since")
NGINXS_OWN = ("Accept-Ranges",)


def can_serve(request: HttpRequest, store: Store) -> bool:
    """Does an nginx stand in front that can read what is in this store, and answer this request?"""
    asked = settings.DOWNLOAD_ACCEL == "nginx" and request.headers.get(OFFER) == "nginx"
    return asked and isinstance(store, OnDisk) and not any(name in request.headers for name in OURS_TO_JUDGE)


async def respond(store: Store, file: StoredFile, headers: dict[str, str]) -> HttpResponse:
    """What tells nginx to send the file, or the range that was asked for. Raises as `Store.read` does."""
    assert isinstance(store, OnDisk)
    path = await store.path_of(str(file.pk), file.size)
    kept = {name: value for name, value in headers.items() if name not in NGINXS_OWN}
    return HttpResponse(headers=kept | {"X-Accel-Redirect": f"{LOCATION}{path}"})
