"""A limit on request bodies, before Django spools them to disk: nothing is uploaded over HTTP (wire.md)."""

from typing import Any

REFUSAL = (
    b'{"type": "urn:directdrivex:error:body_too_large", "title": "The request body is larger than 2 MiB.", '
    b'"status": 413, "detail": "The request body is larger than 2 MiB.", "code": "body_too_large", '
    b'"retryable": false, "retry_after": null}'
)


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """Answers 413 to an HTTP request whose body is, or turns out to be, larger than `limit` bytes."""

    def __init__(self, application: Any, limit: int) -> None:
        self.application, self.limit = application, limit

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.application(scope, receive, send)
        lengths = [value for key, value in scope["headers"] if key == b"content-length"]
        if lengths and (not lengths[0].isdigit() or int(lengths[0]) > self.limit):
            return await _refuse(send)
        read = 0
        started = False

        async def counted() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.limit:
                raise _TooLargeError
            return message

        async def noted(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.application(scope, counted, noted)
        except _TooLargeError:
            if started:
                raise
            await _refuse(send)
        return None


async def _refuse(send: Any) -> None:
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(REFUSAL)).encode()),
        (b"connection", b"close"),  # what is left of the body is not read
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": REFUSAL})
