"""Types that nobody may send: how a name is read, what an operator may write, and what a new installation has."""

import importlib
import unicodedata
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from quotas import services
from quotas.file_types import blocked_by, canonical_pattern, extensions_of
from quotas.models import BlockedType

SEED = importlib.import_module("quotas.migrations.0004_seed_blocked_types")
BLOCKED = frozenset(SEED.SEEDS)


@pytest.mark.parametrize(
    "name",
    [
        "holiday.scr",
        "HOLIDAY.SCR",
        "holiday.jpg.scr",
        ".scr",
        "holiday.scr.",
        "holiday.scr. . .",
        "holiday.scr\u00a0",
        "holiday.scr\t",
        "holiday\uff0e\uff53\uff43\uff52",  # full width letters and full stop
        "holiday\u2024scr",  # one dot leader
        "holiday.\u017fcr",  # long s
        "holiday.s\u200bcr",
        "holiday.scr\u200f",
        "holiday.\u202escr",
        "\u202ercs.gpj\u202c.scr",
        "holiday.s\u00adcr\ufeff",
        "holiday.scr::$DATA",
        "holiday.scr:picture.jpg",
        "a:holiday.scr",
        "holiday.lnk",
        "Brief\u0301.hta",
    ],
)
def test_a_blocked_extension_is_found_in_whatever_clothes(name: str) -> None:
    found = blocked_by(BLOCKED, name, "")
    assert found is not None
    assert found[0] == "filename"


@pytest.mark.parametrize(
    "name",
    [
        "scr",
        "my.scratch",
        "holiday.scr.txt",
        "setup.exe",
        "installer.msi",
        "run.bat",
        "app.js",
        "page.html",
        "...",
        "",
        "फ़ाइल.txt",
        "meeting 10:30.txt",
        "holidayscr",
    ],
)
def test_what_people_send_on_purpose_passes(name: str) -> None:
    assert blocked_by(BLOCKED, name, "") is None


@pytest.mark.parametrize(
    ("content_type", "pattern"),
    [
        ("application/hta", "application/hta"),
        ("Application/HTA; charset=utf-8", "application/hta"),
        ("video/mp4", "video/*"),
        ("application/pdf", None),
        ("videos/mp4", None),
        ("", None),
    ],
)
def test_a_content_type_is_judged_without_its_parameters(content_type: str, pattern: str | None) -> None:
    found = blocked_by({"application/hta", "video/*"}, "name.txt", content_type)
    assert found == (pattern and ("content_type", pattern))


@given(st.text(max_size=60), st.sampled_from(sorted(pattern for pattern in BLOCKED if "/" not in pattern)))
def test_no_name_that_ends_in_a_blocked_extension_passes(stem: str, extension: str) -> None:
    assert blocked_by(BLOCKED, f"{stem}.{extension}", "") is not None


@given(st.text(max_size=255))
def test_an_extension_is_always_in_the_form_that_patterns_have(name: str) -> None:
    for extension in extensions_of(name):
        assert not any(unicodedata.category(character) == "Cf" for character in extension)
        assert extension == extension.casefold()


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("scr", "scr"),
        (".SCR ", "scr"),
        ("*.scr", "scr"),
        ("7z", "7z"),
        ("Application/X-MS-Shortcut", "application/x-ms-shortcut"),
        ("image/*", "image/*"),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
def test_a_pattern_is_written_in_one_way(written: str, stored: str) -> None:
    assert canonical_pattern(written) == stored
    assert canonical_pattern(stored) == stored


@pytest.mark.parametrize("written", ["", ".", "*", "*/*", "tar.gz", "a b", "image/", "/png", "a/b/c", "x" * 128, "a:b"])
def test_what_would_block_nothing_or_everything_is_no_pattern(written: str) -> None:
    with pytest.raises(ValueError):
        canonical_pattern(written)


# --- The operator's list ----------------------------------------------------------------------------------------


@pytest.fixture
def no_types(db) -> None:
    BlockedType.objects.all().delete()


@pytest.mark.every_database
@pytest.mark.usefixtures("no_types")
def test_a_change_of_the_list_is_in_force_at_once() -> None:
    assert services.blocked_types() == frozenset()
    blocked = BlockedType.objects.create(pattern="*.EXE")
    assert services.blocked_types() == {"exe"}
    assert str(BlockedType.objects.get()) == ".exe"
    blocked.delete()
    assert services.blocked_types() == frozenset()


@pytest.mark.every_database
@pytest.mark.usefixtures("no_types")
def test_each_pattern_stands_there_once_however_it_is_written() -> None:
    BlockedType.objects.create(pattern="scr")
    with pytest.raises(ValidationError, match="stands there already"):
        BlockedType(pattern=".SCR").full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        BlockedType.objects.create(pattern=".SCR")


@pytest.mark.every_database
@pytest.mark.usefixtures("no_types")
def test_a_new_installation_has_the_seeds_in_their_one_form() -> None:
    SEED.seed(apps, None)
    assert services.blocked_types() == BLOCKED == {canonical_pattern(pattern) for pattern in BLOCKED}
    assert not BLOCKED & {"exe", "msi", "com", "bat", "js", "html"}, "people send these on purpose"


@pytest.mark.usefixtures("no_types")
def test_an_admin_reads_why_a_pattern_is_refused(admin_client: Client) -> None:
    def add(pattern: str) -> Any:
        return admin_client.post(reverse("admin:quotas_blockedtype_add"), {"pattern": pattern, "note": ""})

    (error,) = add("tar.gz").context["adminform"].form.errors["pattern"]
    assert error == "“tar.gz” is neither an extension, such as scr, nor a media type, such as application/hta."
    assert add(".MSI").status_code == 302
    assert services.blocked_types() == {"msi"}


def test_strangers_do_not_see_the_list(client: Client, db) -> None:
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.get(reverse("admin:quotas_blockedtype_changelist")).status_code == 403
