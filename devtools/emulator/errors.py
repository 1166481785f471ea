"""Errors as Drive says them: a status, a reason that programs go by, and a sentence."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What Google writes for each reason; the reason is what programs go by.
MESSAGES = {
    "authError": "Invalid Credentials",
    "backendError": "Backend Error",
    "cannotDownloadAbusiveFile": "This file has been identified as malware or spam and cannot be downloaded.",
    "dailyLimitExceeded": "Daily Limit Exceeded",
    "fileIdInUse": "A file already exists with the provided ID.",
    "fileNotDownloadable": "Only files with binary content can be downloaded. Use Export with Docs Editors files.",
    "insufficientPermissions": "Request had insufficient authentication scopes.",
    "internalError": "Internal Error",
    "quotaExceeded": "The user has exceeded their quota.",
    "rateLimitExceeded": "Rate Limit Exceeded",
    "required": "Login Required.",
    "storageQuotaExceeded": "The user's Drive storage quota has been exceeded.",
    "teamDriveFileLimitExceeded": "The file limit for this shared drive has been exceeded.",
    "uploadTooLarge": "The file is larger than 5497558138880 bytes.",
    "userRateLimitExceeded": "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota.",
}
USUAL_REASONS = {400: "badRequest", 401: "authError", 403: "forbidden", 404: "notFound", 409: "conflict", 410: "gone"}
USAGE_LIMITS = {"dailyLimitExceeded", "quotaExceeded", "rateLimitExceeded", "userRateLimitExceeded"}


class DriveError(Exception):
    """An answer that is no success. `location` names the parameter or header that is to blame."""

    def __init__(
        self, status: int, reason: str = "", message: str = "", *, location: str = "", retry_after: float | None = None
    ) -> None:
        self.status = status
        self.reason = reason or USUAL_REASONS.get(status, "backendError")
        self.message = message or MESSAGES.get(self.reason, self.reason)
        self.location, self.retry_after = location, retry_after
        self.headers: dict[str, str] = {}
        super().__init__(f"{status} {self.reason}: {self.message}")

    def answer(self) -> web.Response:
        """The answer in Google's JSON form."""
        domain = "usageLimits" if self.reason in USAGE_LIMITS else "global"
        detail = {"message": self.message, "domain": domain, "reason": self.reason}
        if self.location:
            detail |= {
                "location": self.location,
                "locationType": "header" if self.location[0].isupper() else "parameter",
            }
        headers = dict(self.headers)
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        body = {"error": {"code": self.status, "message": self.message, "errors": [detail]}}
        return web.json_response(body, status=self.status, headers=headers)


def not_found(file_id: str) -> DriveError:
    return DriveError(404, "notFound", f"File not found: {file_id}.", location="fileId")


def invalid(location: str, message: str = "Invalid Value") -> DriveError:
    return DriveError(400, "invalid", message, location=location)


@web.middleware
async def in_googles_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns our errors, and the router's, into Google's JSON."""
    try:
        return await handler(request)
    except DriveError as error:
        return error.answer()
    except ConnectionError:
        return web.Response(status=400)  # nobody is there to read it
    except OSError as error:  # a full disk, say
        return DriveError(500, "backendError", f"The emulator's disk: {error.strerror}.").answer()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return DriveError(error.status, message=error.reason).answer()
