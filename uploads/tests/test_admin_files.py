"""Files in the admin: what is shown, to whom, and what the buttons do."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from uploads.drive_models import DriveAccount, DriveUpload
from uploads.models import Batch, FileEvent, StoredFile
from uploads.states import Status

pytestmark = pytest.mark.django_db(transaction=True)


def a_file(filename="holiday.mov", **fields):
    now = timezone.now()
    values = {
        "filename": filename,
        "size": 4096,
        "person": "address:203.0.113.9",
        "token_digest": "deadbeef" * 8,
        "quota_day": now.date(),
        "created_at": now,
        "upload_expires_at": now + timedelta(hours=24),
    }
    return StoredFile.objects.create(**{**values, **fields})


def staff(client, *permissions):
    user = get_user_model().objects.create_user("helper", "helper@example.org", "pw", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user


@pytest.fixture
def admin(admin_user, client):
    client.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def listing(client, **query):
    answer = client.get(reverse("admin:uploads_storedfile_changelist"), query)
    assert answer.status_code == 200
    return [file.filename for file in answer.context["cl"].result_list], answer


def change_page(file):
    return reverse("admin:uploads_storedfile_change", args=[file.pk])


def steer(file, act):
    return reverse("admin:uploads_storedfile_steer", args=[file.pk, act])


def messages_of(answer):
    return [str(message) for message in answer.context["messages"]]


# --- what is shown ---


def test_the_list_shows_size_percent_and_last_error_in_words(admin):
    a_file(size=3_624_892_618, stored_bytes=906_223_154, error_code="storage_full", error_detail="disk at 100 %")
    _names, answer = listing(admin)
    text = answer.content.decode()
    assert "3.38 GiB" in text
    assert "24 %" in text
    assert "storage_<wbr>full" in text


def test_of_a_file_that_failed_nothing_is_said_to_be_stored(admin):
    file = a_file(status=Status.FAILED, size=100, stored_bytes=77)
    text = listing(admin)[1].content.decode() + admin.get(change_page(file)).content.decode()
    assert "77 %" not in text
    assert "nothing any more" in text


def test_a_file_is_found_by_part_of_its_name_by_its_id_and_by_its_sender(admin, admin_user):
    mine = a_file("plan.pdf", owner=admin_user)
    a_file("holiday.mov", person="address:198.51.100.4")
    assert listing(admin, q="plan")[0] == ["plan.pdf"]
    assert listing(admin, q=str(mine.pk))[0] == ["plan.pdf"]
    assert listing(admin, q=admin_user.username)[0] == ["plan.pdf"]
    assert listing(admin, q="198.51.100")[0] == ["holiday.mov"]
    assert listing(admin, q="nothing of the kind")[0] == []


def test_files_are_filtered_by_state(admin):
    a_file("a")
    a_file("b", status=Status.COMPLETED)
    a_file("c", status=Status.FAILED)
    assert listing(admin, state="completed")[0] == ["b"]
    assert listing(admin, state="failed")[0] == ["c"]
    assert listing(admin, state="uploading")[0] == []
    assert set(listing(admin, state="nonsense")[0]) == {"a", "b", "c"}


def test_the_page_of_a_file_shows_the_true_cause_and_the_history(admin):
    file = a_file(status=Status.FAILED, error_code="checksum_mismatch", error_detail="server said 12ab, storage 34cd")
    FileEvent.objects.create(
        file=file,
        at=timezone.now(),
        old_status="verifying",
        new_status="failed",
        code="checksum_mismatch",
        detail="server said 12ab, storage 34cd",
        actor="server",
    )
    text = admin.get(change_page(file)).content.decode()
    assert text.count("server said 12ab, storage 34cd") == 2
    assert "The bytes that arrived are not those that were sent" in text
    assert "verifying → failed" in text


def test_the_page_of_a_file_on_drive_names_the_account_that_has_it(admin):
    account = DriveAccount.objects.create(name="films")
    on_drive, on_disk = a_file(storage="gdrive"), a_file(storage="local")
    DriveUpload.objects.create(key=on_drive.pk, account_id=account.pk, saved_at=timezone.now())
    assert "gdrive: films" in admin.get(change_page(on_drive)).content.decode()
    assert "films" not in admin.get(change_page(on_disk)).content.decode()


def test_a_hostile_file_name_is_text_and_nothing_else(admin):
    file = a_file("<script>alert(1)</script>.txt", error_code="internal", error_detail="<img src=x onerror=alert(1)>")
    for text in (admin.get(change_page(file)).content.decode(), listing(admin)[1].content.decode()):
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_token_digests_are_never_shown(admin):
    file = a_file(idempotency_digest="cafe" * 16)
    for text in (admin.get(change_page(file)).content.decode(), listing(admin)[1].content.decode()):
        assert "deadbeef" not in text
        assert "cafecafe" not in text


def test_share_controls_are_shown_and_never_what_is_kept_of_a_password(admin):
    batch = Batch.objects.create(person="address:203.0.113.9", created_at=timezone.now(), password_hash="hash-of-batch")
    now = timezone.now()
    own = a_file("own.bin", batch=batch, password_hash="hash-of-file", max_downloads=77, downloads=33, revoked_at=now)
    plain = a_file("plain.bin", batch=batch, position=1, expires_in=4321)
    text = admin.get(change_page(own)).content.decode()
    for shown in ("its own", "77", "33"):
        assert shown in text
    plain_text = admin.get(change_page(plain)).content.decode()
    assert "that of its batch" in plain_text
    assert "4321" in plain_text
    of_batch = admin.get(reverse("admin:uploads_batch_change", args=[batch.pk])).content.decode()
    assert "its own" in of_batch
    lists = [
        admin.get(reverse(f"admin:uploads_{name}_changelist")).content.decode() for name in ("storedfile", "batch")
    ]
    for page in (text, plain_text, of_batch, *lists):
        assert "hash-of" not in page


def test_users_can_still_be_looked_after(admin):
    assert admin.get(reverse("admin:auth_user_changelist")).status_code == 200


# --- nothing is edited ---


def test_a_file_is_not_added_edited_or_deleted_past_the_use_cases(admin):
    file = a_file()
    assert admin.get(reverse("admin:uploads_storedfile_add")).status_code == 403
    assert admin.get(reverse("admin:uploads_storedfile_delete", args=[file.pk])).status_code == 403
    assert admin.post(change_page(file), {"filename": "other"}).status_code == 403
    assert 'name="_save"' not in admin.get(change_page(file)).content.decode()
    assert "delete_selected" not in [
        name for name, _label in listing(admin)[1].context["action_form"].fields["action"].choices
    ]
    file.refresh_from_db()
    assert file.filename == "holiday.mov"


# --- what can be done ---


def test_cancelling_asks_first_and_then_cancels_with_history_and_log(admin, admin_user):
    file = a_file()
    answer = admin.post(steer(file, "cancel"))
    assert b"cannot be taken back" in answer.content
    file.refresh_from_db()
    assert file.status == Status.PENDING

    answer = admin.post(steer(file, "cancel"), {"confirmed": "yes"}, follow=True)
    assert messages_of(answer) == ["holiday.mov: The upload was cancelled."]
    file.refresh_from_db()
    assert file.status == Status.CANCELLED
    assert file.events.get(new_status="cancelled").actor == f"admin {admin_user.username}"
    assert LogEntry.objects.get().object_id == str(file.pk)


def test_what_cannot_be_done_is_said_with_its_reason_and_changes_nothing(admin):
    file = a_file(status=Status.COMPLETED)
    answer = admin.post(steer(file, "cancel"), {"confirmed": "yes"}, follow=True)
    assert messages_of(answer) == ["holiday.mov: This upload is complete already; it can be deleted, not cancelled."]
    answer = admin.post(steer(file, "pause"), follow=True)
    assert "neither a slot nor a place" in messages_of(answer)[0]
    file.refresh_from_db()
    assert file.status == Status.COMPLETED
    assert not LogEntry.objects.exists()


def test_deleting_removes_a_completed_file(admin):
    file = a_file(status=Status.COMPLETED)
    admin.post(steer(file, "delete"), {"confirmed": "yes"})
    file.refresh_from_db()
    assert file.status == Status.DELETED


def test_scripts_get_json(admin):
    file = a_file()
    json = {"Accept": "application/json"}
    answer = admin.post(steer(file, "cancel"), headers=json)
    assert (answer.status_code, answer.json()["ok"]) == (409, False)
    answer = admin.post(steer(file, "cancel"), {"confirmed": "yes"}, headers=json)
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "detail": "The upload was cancelled."})
    answer = admin.post(steer(file, "release"), headers=json)
    assert (answer.status_code, answer.json()["ok"]) == (409, False)


def test_a_bulk_action_does_what_it_can_and_tells_what_it_could_not(admin):
    pending, complete = a_file("going.bin"), a_file("done.bin", status=Status.COMPLETED)
    address = reverse("admin:uploads_storedfile_changelist")
    form = {"action": "cancel_selected", "_selected_action": [str(pending.pk), str(complete.pk)]}
    asked = admin.post(address, form)
    assert asked.status_code == 200
    assert b"going.bin" in asked.content
    pending.refresh_from_db()
    assert pending.status == Status.PENDING

    answer = admin.post(address, {**form, "confirmed": "yes"}, follow=True)
    assert messages_of(answer) == [
        "done.bin: This upload is complete already; it can be deleted, not cancelled.",
        "Done for 1 file.",
    ]
    pending.refresh_from_db()
    complete.refresh_from_db()
    assert (pending.status, complete.status) == (Status.CANCELLED, Status.COMPLETED)


# --- who may ---


def test_staff_who_may_only_look_see_files_and_no_buttons(client):
    staff(client, "view_storedfile")
    file = a_file()
    page = client.get(change_page(file))
    assert page.status_code == 200
    assert "/steer/" not in page.content.decode()
    assert client.post(steer(file, "cancel"), {"confirmed": "yes"}).status_code == 403
    form = {"action": "cancel_selected", "_selected_action": [str(file.pk)], "confirmed": "yes"}
    client.post(reverse("admin:uploads_storedfile_changelist"), form)
    file.refresh_from_db()
    assert file.status == Status.PENDING


def test_staff_without_any_right_on_files_see_none(client):
    staff(client)
    file = a_file()
    assert client.get(change_page(file)).status_code == 403
    assert client.post(steer(file, "cancel"), {"confirmed": "yes"}).status_code == 403


def test_staff_with_the_right_may_act_and_strangers_are_sent_to_sign_in(client):
    file = a_file()
    answer = client.post(steer(file, "cancel"), {"confirmed": "yes"})
    assert (answer.status_code, "/admin/login/" in answer["Location"]) == (302, True)
    staff(client, "change_storedfile")
    client.post(steer(file, "cancel"), {"confirmed": "yes"})
    file.refresh_from_db()
    assert file.status == Status.CANCELLED


def test_an_act_needs_post_and_the_csrf_token(admin_user):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")
    file = a_file()
    assert browser.get(steer(file, "cancel")).status_code == 405
    assert browser.post(steer(file, "cancel"), {"confirmed": "yes"}).status_code == 403
    file.refresh_from_db()
    assert file.status == Status.PENDING


def test_an_unknown_act_or_file_is_not_found(admin):
    file = a_file()
    assert admin.post(steer(file, "explode")).status_code == 404
    address = steer(file, "cancel")
    file.delete()
    assert admin.post(address).status_code == 404


def test_the_live_page_is_for_staff_and_has_buttons_only_for_those_who_may_act(client):
    address = reverse("admin:live")
    assert client.get(address).status_code == 302
    staff(client, "view_storedfile")
    page = client.get(address).content.decode()
    assert 'data-may-steer="no"' in page
    assert "<script>" not in page
    assert " style=" not in page


def test_the_admin_leads_to_the_live_page(admin):
    assert reverse("admin:live") in admin.get(reverse("admin:index")).content.decode()


def test_the_page_of_a_file_has_a_hindi_label_for_every_field(admin):
    text = admin.get(change_page(a_file()), headers={"accept-language": "hi"}).content.decode()
    labels = re.findall(r"<label>([^<]+):</label>", text)
    assert len(labels) > 20
    assert [label for label in labels if label.isascii()] == ["Id", "SHA-256", "CRC-32"]
