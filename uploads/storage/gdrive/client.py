"""Google Drive's HTTP calls, one method each, over aiohttp. Needs no Django.

It knows the protocol (docs/drive.md) and nothing of accounts, uploads or tries: a call is made once, and whatever goes
wrong comes out as an error of `errors.py`. The URL of a session is a bearer secret: it is sent to no other origin than
the API's, and stands in no message.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from uploads.storage.gdrive.errors import (
    FAILURES,
    DriveBusyError,
    DriveChangedError,
    DriveRefusedError,
    of_answer,
    of_exception,
)
from uploads.storage.gdrive.patience import Patience

# MD5 costs three times as much as SHA-256: it is asked for where there is no other.
FIELDS = "id,size,sha256Checksum,trashed"
ANSWER_BYTES = 1024 * 1024
BLOCK_BYTES = 256 * 1024
PAGE_FILES = 1000
RESUME_INCOMPLETE = 308
_PART = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")


@dataclass(frozen=True)
class DriveFile:
    """A file as Drive tells of it; `size` in bytes, digests in lower-case hex, `properties` those of our program."""

    id: str
    size: int
    sha256: str | None
    md5: str | None
    trashed: bool
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Progress:
    """What an upload's session has: the first `offset` bytes, and the `file` once it is whole."""

    offset: int
    file: DriveFile | None = None


class DriveClient:
    """Speaks to the API at `root` (scheme, host and port). One connection pool per event loop, until `close`."""

    def __init__(self, root: str, patience: Patience) -> None:
        self._root, self._patience = URL(root), patience
        self._http: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None and self._loop is asyncio.get_running_loop():
            await http.close()

    # --- an upload's session ---

    async def generate_id(self, token: str) -> str:
        """An id for a file that is to be made: making it twice under one id fails."""
        answer = await self._json("GET", "/drive/v3/files/generateIds?count=1&space=drive", token)
        ids = answer.get("ids")
        if not isinstance(ids, list) or not ids or not isinstance(ids[0], str):
            raise DriveBusyError("Drive gave no id for a new file")
        return ids[0]

    async def start(self, token: str, metadata: Mapping[str, Any], size: int) -> str:
        """Begin the upload of a file of `size` bytes; returns the URL of its session.

        Raises `DriveTakenError` where the file of this id is there already.
        """
        path = f"/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true&fields={FIELDS}"
        headers = {"X-Upload-Content-Type": "application/octet-stream", "X-Upload-Content-Length": str(size)}
        async with self._call("POST", self._url(path), token, headers=headers, json=metadata) as response:
            location = response.headers.get("Location", "")
            await self._body_of(response)
        self._pinned(location)
        return location

    async def put(
        self, token: str, url: str, start: int, length: int, total: int, body: AsyncIterable[Any]
    ) -> Progress:
        """Send `length` bytes as they come out of `body`, which belong to offset `start` of a file of `total`.

        No time runs here: the caller sees how its bytes move.
        """
        headers = {"Content-Length": str(length), "Content-Range": f"bytes {start}-{start + length - 1}/{total}"}
        unlimited = aiohttp.ClientTimeout(sock_connect=self._patience.connect)
        async with self._call("PUT", self._pinned(url), token, headers=headers, data=body, timeout=unlimited) as answer:
            return await self._progress(answer, total)

    async def put_empty(self, token: str, url: str) -> Progress:
        """Make a file without bytes."""
        async with self._call("PUT", self._pinned(url), token, data=b"") as response:
            return await self._progress(response, 0)

    async def where(self, token: str, url: str, total: int) -> Progress:
        """What the session has. Raises `DriveGoneError` where there is none any longer."""
        headers = {"Content-Range": f"bytes */{total}"}
        async with self._call("PUT", self._pinned(url), token, headers=headers, data=b"") as response:
            return await self._progress(response, total)

    async def cancel(self, token: str, url: str) -> None:
        """End the session and drop what it has."""
        # 499 is Drive's answer to this, and no failure.
        async with self._call("DELETE", self._pinned(url), token, accepted=frozenset({404, 410, 499})):
            pass

    # --- files ---

    async def get(self, token: str, file_id: str, *, with_md5: bool = False) -> DriveFile:
        """What Drive knows of a file. Raises `DriveGoneError`."""
        fields = f"{FIELDS},md5Checksum" if with_md5 else FIELDS
        return _file(await self._json("GET", f"{_path(file_id)}&fields={fields}", token))

    async def delete(self, token: str, file_id: str) -> None:
        """Remove a file for good; nothing happens where there is none."""
        async with self._call("DELETE", self._url(_path(file_id)), token, accepted=frozenset({404, 410})):
            pass

    async def files(self, token: str, query: str, drive_id: str | None) -> AsyncIterator[DriveFile]:
        """Every file that `query` finds, on the shared drive `drive_id` or on the account's own."""
        where = {"corpora": "drive", "driveId": drive_id} if drive_id else {"corpora": "user"}
        fields = f"nextPageToken,files({FIELDS},appProperties)"
        page: str | None = ""
        while page is not None:
            parameters = {
                "q": query,
                "fields": fields,
                "pageSize": str(PAGE_FILES),
                "supportsAllDrives": "true",
                "includeItemsFromAllDrives": "true",
                **where,
                **({"pageToken": page} if page else {}),
            }
            answer = await self._json("GET", str(URL("/drive/v3/files").with_query(parameters)), token)
            for resource in answer.get("files", []):
                yield _file(resource)
            page = answer.get("nextPageToken")

    async def download(
        self, token: str, file_id: str, start: int, end: int, *, size: int | None = None, abusive: bool = False
    ) -> AsyncGenerator[bytes]:
        """The bytes `start` to `end`, `end` excluded, and never more. `abusive`: also what Drive takes for malware.

        The first block comes out before anything else, so that a refusal raises at once. Raises `DriveChangedError`
        where the file is not `size` bytes long, `DriveBusyError` where its bytes end too soon.
        """
        path = f"{_path(file_id)}&alt=media" + ("&acknowledgeAbuse=true" if abusive else "")
        # Packed on its way it would be other bytes than those that were asked for.
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        timeout = aiohttp.ClientTimeout(sock_connect=self._patience.connect, sock_read=self._patience.stall)
        async with self._call("GET", self._url(path), token, headers=headers, timeout=timeout) as response:
            _check_part(response, start, end, size)
            missing = end - start
            async for block in response.content.iter_chunked(BLOCK_BYTES):
                yield block[:missing]
                missing -= len(block)
                if missing <= 0:
                    return
            raise DriveBusyError(f"Drive ended {missing} bytes too soon")

    # --- one call ---

    async def _json(self, method: str, path: str, token: str) -> dict[str, Any]:
        async with self._call(method, self._url(path), token) as response:
            body = await self._body_of(response)
            if not isinstance(body, dict):
                raise DriveBusyError("Drive's answer is no JSON")
            return body

    @asynccontextmanager
    async def _call(
        self,
        method: str,
        url: URL,
        token: str,
        *,
        accepted: frozenset[int] = frozenset(),
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One call; an answer that is no success, and every failure of the network, raise as ours."""
        arguments.setdefault("timeout", self._times())
        headers = {**(headers or {}), "Authorization": f"Bearer {token}"}
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._pool().request(method, url, headers=headers, allow_redirects=False, **arguments)
            if response.status not in (200, 201, 204, 206, RESUME_INCOMPLETE, *accepted):
                raise of_answer(response.status, response.headers, await self._body_of(response))
            yield response
        except FAILURES as error:
            raise of_exception(error) from None  # its own words may have the address
        finally:
            if response is not None:
                # A body that is still being sent, or an answer that was not read, ends with its connection.
                response.release() if response.content.at_eof() else response.close()

    async def _progress(self, response: aiohttp.ClientResponse, total: int) -> Progress:
        body = await self._body_of(response)
        if response.status == RESUME_INCOMPLETE:
            return Progress(_stored_of(response.headers.get("Range")))
        if not isinstance(body, dict):
            raise DriveBusyError("Drive's answer is no JSON")
        return Progress(total, _file(body))

    async def _body_of(self, response: aiohttp.ClientResponse) -> Any:
        """The JSON of an answer, None where it is none."""
        raw = b""
        async with asyncio.timeout(self._patience.answer):
            # `response.read()` would wait for a body of ours that nobody takes any longer.
            while len(raw) < ANSWER_BYTES and (block := await response.content.readany()):
                raw += block
        try:
            return json.loads(raw)
        except ValueError:
            return None

    def _url(self, path: str) -> URL:
        return self._root.join(URL(path))

    def _pinned(self, url: str) -> URL:
        """The session's URL. Raises `DriveRefusedError` where it leads anywhere but to the API itself."""
        try:
            parsed = URL(url, encoded=True)
            pinned = parsed.origin() == self._root.origin() and parsed.path.startswith("/upload/")
        except ValueError:
            pinned = False
        if not pinned:
            raise DriveRefusedError("the address of a session leads elsewhere than to GDRIVE_API_ROOT")
        return parsed

    def _times(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self._patience.answer, sock_connect=self._patience.connect)

    def _pool(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._http is None or self._http.closed or self._loop is not loop:
            # How many connections there are is what the slots and the downloads say.
            connector = aiohttp.TCPConnector(limit=0)
            self._http = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            self._loop = loop
        return self._http


def _path(file_id: str) -> str:
    return f"/drive/v3/files/{file_id}?supportsAllDrives=true"


def _stored_of(value: str | None) -> int:
    """How many bytes `Range: bytes=0-n` says are stored; without one nothing is."""
    if not value:
        return 0
    first, _, last = value.removeprefix("bytes=").partition("-")
    if first != "0" or not last.isdecimal():
        raise DriveBusyError("Drive's Range cannot be read")
    return int(last) + 1


def _check_part(response: aiohttp.ClientResponse, start: int, end: int, size: int | None) -> None:
    """Raise where an answer has not the bytes that were asked for; a whole file is good for what begins at 0."""
    told = _PART.fullmatch(response.headers.get("Content-Range", ""))
    if response.status == 206 and told:
        first, last, whole = map(int, told.groups())
    elif response.status == 200 and response.content_length is not None:
        first, last, whole = 0, response.content_length - 1, response.content_length
    else:
        raise DriveBusyError(f"Drive answered {response.status} to a range, and not of which bytes")
    if (size is not None and whole != size) or whole < end:
        raise DriveChangedError(f"the file on Drive has {whole} bytes in place of {size or f'at least {end}'}")
    if first != start or last < end - 1:
        raise DriveBusyError(f"Drive has sent the bytes from {first} to {last} in place of {start} to {end - 1}")


def _file(resource: Mapping[str, Any]) -> DriveFile:
    try:
        return DriveFile(
            id=str(resource["id"]),
            size=int(resource.get("size", 0)),  # a string in their JSON
            sha256=resource.get("sha256Checksum"),
            md5=resource.get("md5Checksum"),
            trashed=bool(resource.get("trashed")),
            properties=resource.get("appProperties") or {},
        )
    except (KeyError, TypeError, ValueError):
        raise DriveBusyError("what Drive tells of a file cannot be read") from None
