"""The OpenAPI page made true: what the framework cannot know of statuses, media types, headers and credentials.

Every error is a problem document; which statuses a call can answer follows from what it is: those of a call that
needs no token have no 401, those that announce nothing no 507.
"""

from functools import lru_cache
from typing import Any

from django.utils.translation import get_language
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from uploads.errors import Locked, UploadError, every_error
from uploads.problems import CONTENT_TYPE

Operation = dict[str, Any]

SECURITY_SCHEMES = {
    "uploadToken": {"type": "http", "scheme": "bearer", "description": "The `upload_token` of the initiation."},
    "unlockToken": {"type": "http", "scheme": "bearer", "description": "What unlocking gave; for what is locked."},
    "session": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
    "visitor": {"type": "apiKey", "in": "cookie", "name": "ddx_visitor"},
}
RECIPIENTS: list[dict[str, list[str]]] = [{}, {"unlockToken": []}]
OWNERS: list[dict[str, list[str]]] = [{"uploadToken": []}, {"session": []}, {"visitor": []}]
TEXT = {"type": "string"}
# Spaces around a header's value are none of it.
KEY = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$",
}
ID = {"type": "string", "format": "uuid"}

ZIP_HEADERS = {
    "ETag": "Strong: another one as soon as a single byte of it would differ.",
    "Accept-Ranges": "Always `bytes`.",
    "Content-Disposition": "Always `attachment`, with the name as in RFC 6266: one in ASCII, and the true one.",
    "X-Content-Type-Options": "Always `nosniff`.",
}
DOWNLOAD_HEADERS = ZIP_HEADERS | {
    "ETag": "Strong; the SHA-256 in quotes.",
    "Last-Modified": "When the file was completed.",
    "Repr-Digest": "RFC 9530, `sha-256`.",
}
REQUEST_HEADERS = {
    "announces": {"Idempotency-Key": "1 to 255 characters: within a day the same files again, with new tokens."},
    "downloads": {
        "Range": "One range of bytes.",
        "If-Range": "The ETag that the range is of; of a single file the date will do.",
        "If-None-Match": "ETags of which the bytes are there already.",
        "If-Modified-Since": "The date of which the bytes are there already; without If-None-Match.",
        "If-Match": "ETags, one of which the file must have.",
        "If-Unmodified-Since": "The date that the file must not be younger than; without If-Match.",
    },
}


class DescribedAPI(NinjaAPI):
    """A `NinjaAPI` whose OpenAPI page says what its calls really answer."""

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Made once for each language: anybody may ask for it, and to make it takes as long as twenty other answers."""
        if path_prefix is None:
            path_prefix = self.get_root_path(path_params or {})
        return self._schema_at(path_prefix, get_language())

    @lru_cache(maxsize=8)  # noqa: B019 - there is one for the life of the process
    def _schema_at(self, path_prefix: str, language: str | None) -> OpenAPISchema:
        schema = super().get_openapi_schema(path_prefix=path_prefix)
        schema["components"]["securitySchemes"] = SECURITY_SCHEMES
        for path, methods in schema["paths"].items():
            # The framework describes two methods of one view by one object.
            schema["paths"][path] = {method: _described(path, method, call) for method, call in methods.items()}
        return schema


def _described(path: str, method: str, call: Operation) -> Operation:
    is_zip, unlocks = "/download-zip/" in path, path.endswith("/unlock")
    announces, downloads = path.endswith("/initiate"), "/download/" in path or is_zip
    needs_owner = "/upload/status/" in path or "/cancel/" in path or method in ("delete", "patch")
    call = {**call, "responses": dict(call["responses"])}
    if method == "head":
        call["operationId"] += "_head"
    call["parameters"] = [
        {**parameter, "schema": ID} if parameter["in"] == "path" else parameter for parameter in call["parameters"]
    ]
    headers = REQUEST_HEADERS["announces" if announces else "downloads"] if announces or downloads else {}
    call["parameters"] += [
        {"name": name, "in": "header", "required": False, "schema": KEY if announces else TEXT, "description": words}
        for name, words in headers.items()
    ]
    if needs_owner:
        call["security"] = OWNERS
    elif downloads or (method == "get" and "{" in path):
        call["security"] = RECIPIENTS
    if downloads:
        call["responses"] |= _zip_answers(method) if is_zip else _file_answers(method)
    possible = {500, 403, 413, 422, 429, 503}  # the doors may be shut to anybody at every call
    possible |= {415, 507} if announces else set()
    possible |= {404, 410} if "{" in path else set()
    possible |= {401} if needs_owner or unlocks else set()
    possible |= {409} if "/upload/cancel/" in path or method == "delete" or downloads or unlocks else set()
    possible |= {401, 412} if downloads else set()
    possible |= {416} if downloads and method == "get" else set()
    call["responses"] = {status: answer for status, answer in call["responses"].items() if int(status) < 400}
    call["responses"] |= {status: _problem(status, with_body=method != "head") for status in sorted(possible)}
    return call


def _problem(status: int, *, with_body: bool) -> dict[str, Any]:
    known: list[type[UploadError]] = [*every_error().values(), Locked]
    errors = [error for error in known if error.http_status == status]
    answer: dict[str, Any] = {"description": "; ".join(f"`{error.code}`: {error.sentence}" for error in errors)}
    headers = {401: {"WWW-Authenticate": True}, 416: {"Content-Range": True}, 429: {"Retry-After": False}}.get(
        status, {}
    )
    if headers:
        answer["headers"] = {name: {"schema": TEXT, "required": always} for name, always in headers.items()}
    if with_body:
        code = {"properties": {"code": {"enum": sorted({error.code for error in errors})}, "status": {"const": status}}}
        answer["content"] = {CONTENT_TYPE: {"schema": {"allOf": [{"$ref": "#/components/schemas/ProblemOut"}, code]}}}
    return answer


def _file_answers(method: str) -> dict[Any, Any]:
    return _download_answers(method, "All bytes, in the sender's media type.", "*/*", DOWNLOAD_HEADERS)


def _zip_answers(method: str) -> dict[Any, Any]:
    return _download_answers(method, "All of the ZIP.", "application/zip", ZIP_HEADERS)


def _download_answers(method: str, what: str, media_type: str, names: dict[str, str]) -> dict[Any, Any]:
    headers = {name: {"schema": TEXT, "required": True, "description": words} for name, words in names.items()}
    body: dict[str, Any] = {"content": {media_type: {"schema": {}}}} if method == "get" else {}
    answers: dict[Any, Any] = {
        200: {"description": what, "headers": headers, **body},
        302: {"description": "To the page of what cannot be had, for a person who followed a link."},
        304: {"description": "The bytes are there already."},
    }
    if method == "get":
        ranged = headers | {"Content-Range": {"schema": TEXT, "required": True}}
        answers[206] = {"description": "The range that was asked for.", "headers": ranged, **body}
    return answers
