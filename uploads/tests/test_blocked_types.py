"""Files of a type that nobody may send are refused when they are announced, by name, and leave nothing behind."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from quotas.models import AudienceLimit, BlockedType, DailyUsage, LimitProfile
from quotas.rules import address_person
from quotas.services import seed_profiles
from uploads import announcing
from uploads.announcing import NewUpload, Sender
from uploads.errors import FileTypeBlocked
from uploads.idempotency import RequestKey
from uploads.models import Batch, StoredFile
from uploads.storage import get_store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
SENDER = Sender(address_person("198.51.100.20"), None, "visitor")


@pytest.fixture(autouse=True)
def operators_list(settings: Any, tmp_path: Any) -> Any:
    settings.DATA_DIR = tmp_path
    get_store.cache_clear()
    BlockedType.objects.all().delete()
    BlockedType.objects.bulk_create([BlockedType(pattern="scr"), BlockedType(pattern="application/hta")])
    yield
    get_store.cache_clear()


async def refused(announcement: Any) -> FileTypeBlocked:
    with pytest.raises(FileTypeBlocked) as caught:
        await announcement
    for model in (StoredFile, Batch, DailyUsage):
        assert not await model.objects.aexists(), "nothing is announced and nothing reserved"
    return caught.value


async def test_one_file_is_named_with_the_type_that_is_not_accepted() -> None:
    error = await refused(announcing.initiate(NewUpload("me.jpg.SCR", 10), SENDER))
    assert error.detail == "Files of the type “.scr” are not accepted here."
    reason = "Files of the type “.scr” are not accepted here."
    entry = {"field": "filename", "filename": "me.jpg.SCR", "code": "file_type_blocked", "reason": reason}
    assert error.members["errors"] == [entry]


async def test_the_content_type_counts_as_well() -> None:
    error = await refused(announcing.initiate(NewUpload("me", 10, "application/HTA"), SENDER))
    assert [named["field"] for named in error.members["errors"]] == ["content_type"]


async def test_of_a_batch_every_blocked_file_is_named_and_none_is_taken() -> None:
    files = [NewUpload("a.txt", 1), NewUpload("b.scr", 1), NewUpload("c", 1, "application/hta"), NewUpload("d.scr.", 1)]
    error = await refused(announcing.initiate_batch(files, "", SENDER))
    assert [(named["field"], named["filename"]) for named in error.members["errors"]] == [
        ("files.1.filename", "b.scr"),
        ("files.2.content_type", "c"),
        ("files.3.filename", "d.scr."),
    ]
    assert error.detail == "Files of this type are not accepted here."


async def test_of_a_batch_those_that_are_too_large_are_named_beside_the_blocked_ones() -> None:
    await sync_to_async(seed_profiles)()
    await LimitProfile.objects.aupdate(limits_enforced=True)
    await AudienceLimit.objects.aupdate(file_bytes=9)
    files = [NewUpload("a.txt", 9), NewUpload("b.mov", 10), NewUpload("c.scr", 10)]
    error = await refused(announcing.initiate_batch(files, "", SENDER))
    assert error.code == "file_type_blocked"
    assert [(named["field"], named["code"], named.get("limit")) for named in error.members["errors"]] == [
        ("files.1.size", "file_too_large", 9),
        ("files.2.filename", "file_type_blocked", None),
    ]


async def test_what_was_announced_before_the_list_changed_may_still_be_asked_for_again() -> None:
    new = NewUpload("setup.exe", 10)
    file, _token = await announcing.initiate(new, SENDER, RequestKey("the same request"))
    await sync_to_async(BlockedType.objects.create)(pattern="exe")
    again, _token = await announcing.initiate(new, SENDER, RequestKey("the same request"))
    assert again.pk == file.pk
    with pytest.raises(FileTypeBlocked):
        await announcing.initiate(new, SENDER, RequestKey("another request"))
