"""What the tests of share controls stand on: finished files with bytes, and people who ask for them."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.hashers import make_password
from django.core import signing
from django.test import AsyncClient
from django.utils import timezone

from uploads import links, tokens
from uploads.models import Batch, StoredFile
from uploads.people import VISITOR_SALT
from uploads.states import Status
from uploads.storage import get_store
from uploads.tests.test_pages import stored_file

TOKEN, SENDER = "the upload's own token", "the visitor who sent it"
SECRET = "open sesame"


def hashed(password: str = SECRET) -> str:
    return make_password(password)


async def batch(**fields: Any) -> Batch:
    return await Batch.objects.acreate(
        **{"title": "A title", "visitor": SENDER, "person": "address:192.0.2.7", "created_at": timezone.now()} | fields
    )


async def whole_file(data: bytes = b"some bytes", **fields: Any) -> StoredFile:
    """A completed file, and its bytes in the store."""
    known = {"size": len(data), "stored_bytes": len(data), "status": Status.COMPLETED, "completed_at": timezone.now()}
    known |= {"visitor": SENDER, "token_digest": tokens.digest(TOKEN)}
    file = await sync_to_async(stored_file)(**known | fields)
    partial = await get_store().open(str(file.pk), file.size)
    await partial.append([data])
    await partial.finish()
    await partial.close()
    return file


def visitor(name: str) -> AsyncClient:
    """A browser with this visitor's cookie."""
    client = AsyncClient()
    client.cookies["ddx_visitor"] = signing.dumps(name, salt=VISITOR_SALT)
    return client


async def got(client: AsyncClient, file: StoredFile, **headers: str) -> tuple[int, bytes]:
    """Status and bytes of a download, read to its end."""
    answer = await client.get(links.download_path(file.pk), headers=headers)
    if not answer.streaming:
        return answer.status_code, answer.content
    return answer.status_code, b"".join([block async for block in answer.streaming_content])
