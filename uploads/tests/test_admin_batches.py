"""Batches in the admin: what is shown, to whom, and what can be done."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from uploads.models import Batch
from uploads.states import Status
from uploads.tests.test_admin_files import a_file, change_page, listing, messages_of, staff

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "admin:uploads_batch_changelist"


@pytest.fixture
def admin(admin_user, client):
    client.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def a_batch(*statuses, title="Holiday", **fields):
    batch = Batch.objects.create(title=title, person="address:203.0.113.9", created_at=timezone.now(), **fields)
    for position, status in enumerate(statuses):
        a_file(
            f"{position}.jpg",
            batch=batch,
            position=position,
            status=status,
            size=1024,
            created_at=batch.created_at,
        )
    return batch


def page(batch):
    return reverse("admin:uploads_batch_change", args=[batch.pk])


def cancel(batch):
    return reverse("admin:uploads_batch_cancel", args=[batch.pk])


def statuses(batch):
    return [file.status for file in batch.files.order_by("position")]


def batches_listed(client, **query):
    answer = client.get(reverse(LIST), query)
    assert answer.status_code == 200
    return [str(batch) for batch in answer.context["cl"].result_list], answer.content.decode()


def test_the_list_shows_each_batch_with_state_and_counts(admin):
    a_batch("completed", "completed", title="All there")
    a_batch("completed", "failed", "deleted", title="Some there")
    a_batch("pending", title="Coming")
    a_batch("deleted", title="Gone")
    names, text = batches_listed(admin)
    assert set(names) == {"All there", "Some there", "Coming", "Gone"}
    for words in ("2 of 2 complete", "1 of 3 complete", "0 of 1 complete", "only some files", "still coming"):
        assert words in text
    assert "all files deleted" in text
    assert "3 KiB" in text


def test_the_list_costs_the_same_for_one_batch_as_for_many(admin):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            batches_listed(admin)
        return len(captured)

    a_batch("completed")
    queries()
    one = queries()
    for number in range(10):
        a_batch(*["completed", "pending"] * 5, title=str(number))
    assert queries() == one


def test_a_batch_is_found_by_title_id_and_sender(admin, admin_user):
    mine = a_batch("pending", title="Plans", owner=admin_user)
    a_batch("pending", title="")
    assert batches_listed(admin, q="plan")[0] == ["Plans"]
    assert batches_listed(admin, q=str(mine.pk))[0] == ["Plans"]
    assert batches_listed(admin, q=admin_user.username)[0] == ["Plans"]


def test_a_batch_leads_to_its_files_and_a_file_to_its_batch(admin):
    batch = a_batch("pending", "completed")
    a_file("alone.bin")
    text = admin.get(page(batch)).content.decode()
    address = f"{reverse('admin:uploads_storedfile_changelist')}?batch={batch.pk}"
    assert address in text
    assert f"/b/{batch.pk}" in text
    assert listing(admin, batch=str(batch.pk))[0] == ["0.jpg", "1.jpg"]
    assert len(listing(admin, batch="nonsense")[0]) == 3
    assert page(batch) in admin.get(change_page(batch.files.first())).content.decode()


def test_a_time_that_is_over_shows_before_the_cleanup_has_come(admin):
    batch = a_batch("pending")
    batch.files.update(upload_expires_at=timezone.now() - timedelta(seconds=1))
    text = admin.get(page(batch)).content.decode()
    assert "expired" in text
    assert cancel(batch) not in text


def test_a_hostile_title_is_text_and_secrets_are_not_shown(admin):
    batch = a_batch("pending", title="<script>alert(1)</script>", idempotency_digest="cafe" * 16)
    texts = [batches_listed(admin)[1], admin.get(page(batch)).content.decode()]
    texts.append(admin.post(cancel(batch)).content.decode())
    texts.append(listing(admin, batch=str(batch.pk))[1].content.decode())
    for text in texts:
        assert "<script>alert" not in text
        assert "cafecafe" not in text


def test_a_batch_is_not_added_edited_or_deleted(admin):
    batch = a_batch("pending")
    assert admin.get(reverse("admin:uploads_batch_add")).status_code == 403
    assert admin.get(reverse("admin:uploads_batch_delete", args=[batch.pk])).status_code == 403
    assert admin.post(page(batch), {"title": "other"}).status_code == 403
    assert Batch.objects.get().title == "Holiday"


def test_cancelling_asks_first_and_then_ends_what_is_unfinished(admin, admin_user):
    batch = a_batch("pending", "completed", "verifying", "failed")
    assert cancel(batch) in admin.get(page(batch)).content.decode()
    asked = admin.post(cancel(batch)).content.decode()
    assert "cannot be taken back" in asked
    assert "2 files are not complete" in asked
    assert statuses(batch) == ["pending", "completed", "verifying", "failed"]
    answer = admin.post(cancel(batch), {"confirmed": "yes"}, follow=True)
    assert messages_of(answer) == ["Holiday: 2 uploads were cancelled."]
    assert statuses(batch) == ["cancelled", "completed", "cancelled", "failed"]
    assert batch.files.get(position=0).events.get(new_status="cancelled").actor == f"admin {admin_user.username}"
    assert LogEntry.objects.get().object_id == str(batch.pk)
    assert cancel(batch) not in admin.get(page(batch)).content.decode()


def test_several_batches_are_cancelled_at_once(admin):
    some = [a_batch("pending"), a_batch("pending", "failed", title="Other")]
    form = {"action": "cancel_selected", "_selected_action": [str(batch.pk) for batch in some]}
    asked = admin.post(reverse(LIST), form)
    assert b"Other" in asked.content
    assert statuses(some[0]) == ["pending"]
    answer = admin.post(reverse(LIST), {**form, "confirmed": "yes"}, follow=True)
    assert sorted(messages_of(answer)) == ["Holiday: 1 upload was cancelled.", "Other: 1 upload was cancelled."]
    assert (statuses(some[0]), statuses(some[1])) == (["cancelled"], ["cancelled", "failed"])


def test_what_cannot_be_cancelled_is_said(admin):
    batch = a_batch("deleted")
    answer = admin.post(cancel(batch), {"confirmed": "yes"}, follow=True)
    assert messages_of(answer) == ["Holiday: All files of this batch were deleted."]
    assert not LogEntry.objects.exists()


def test_only_who_may_change_files_cancels_batches(client):
    batch = a_batch("pending")
    assert client.post(cancel(batch), {"confirmed": "yes"}).status_code == 302
    staff(client, "view_storedfile")
    text = client.get(page(batch)).content.decode()
    assert cancel(batch) not in text
    assert client.post(cancel(batch), {"confirmed": "yes"}).status_code == 403
    form = {"action": "cancel_selected", "_selected_action": [str(batch.pk)], "confirmed": "yes"}
    client.post(reverse(LIST), form)
    assert statuses(batch) == [Status.PENDING]


def test_cancelling_needs_post_and_the_csrf_token(admin_user):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")
    batch = a_batch("pending")
    assert browser.get(cancel(batch)).status_code == 405
    assert browser.post(cancel(batch), {"confirmed": "yes"}).status_code == 403
    assert statuses(batch) == [Status.PENDING]


def test_a_batch_without_a_title_is_named_by_what_is_in_it(admin):
    batch = a_batch("completed", "pending", title="")
    _names, html = batches_listed(admin)
    assert ">2 files<br><small>" in html
    assert f"<small>{str(batch.pk)[:8]}</small>" in html


def test_no_time_can_be_taken_for_another(admin):
    batch = a_batch("completed")
    Batch.objects.filter(pk=batch.pk).update(created_at=datetime(2026, 3, 4, 17, 5, tzinfo=UTC))
    _names, html = batches_listed(admin)
    assert "4 Mar 2026, 17:05" in html
    assert "All times are in UTC." in html
