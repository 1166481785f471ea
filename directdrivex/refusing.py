"""A refusal as an HTTP answer, where the request has not come as far as Django."""

from typing import Any

from django.utils import translation

from uploads.errors import UploadError
from uploads.language import language_of
from uploads.problems import problem


async def refuse(error: UploadError, scope: dict[str, Any], send: Any) -> None:
    """Send the answer for this error, and have the connection closed after it: nothing more is read from it."""
    with translation.override(language_of(scope)):
        answer = problem(error)
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.items()]
    headers.append((b"content-length", str(len(answer.content)).encode()))
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})
