"""How the admin shows a file's facts: one method a fact. Upload tokens and their digests are never among them."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _

from quotas.sizes import short_size
from uploads import drive_accounts, shown
from uploads.models import Batch, FileEvent, StoredFile
from uploads.shown import Look
from uploads.states import ACTIVE, TERMINAL

FIELDSETS: Any = (
    (
        None,
        {
            "fields": (
                "filename",
                "shown_state",
                "exact_size",
                "exact_stored",
                "content_type",
                "id",
                "shown_batch",
                "path",
            )
        },
    ),
    (_("Sender"), {"fields": ("shown_sender", "person", "visitor", "quota_day", "shown_reservation")}),
    (
        _("Times"),
        {"fields": ("created_at", "last_seen_at", "completed_at", "upload_expires_at", "expires_at")},
    ),
    (
        _("Sharing"),
        {"fields": ("shown_password", "max_downloads", "downloads", "expires_in", "revoked_at")},
    ),
    (_("Digests"), {"fields": ("shown_storage", "sha256", "expected_sha256", "shown_crc32", "shown_receipt")}),
)
# Who did it, where it was none of the people.
ACTORS = {"sender": _("sender"), "server": _("server"), "cleanup": _("cleanup")}
FIELDS = tuple(field for _title, options in FIELDSETS for field in options["fields"])


def change_of(event: FileEvent) -> str:
    """`from → to`, or the state alone where the event left it as it was."""
    new = shown.STATE_WORDS.get(event.new_status, event.new_status)
    if not event.old_status or event.old_status == event.new_status:
        return str(new)
    return f"{shown.STATE_WORDS.get(event.old_status, event.old_status)} → {new}"


def history_of(file: StoredFile) -> list[dict[str, Any]]:
    """What happened to the file, the oldest first, in words and with the true causes."""
    return [
        {
            "at": event.at,
            "change": change_of(event),
            "words": shown.code_words(event.code),
            "code": event.code,
            "cause": event.detail,
            "actor": sender_of(file) if event.actor == file.person else ACTORS.get(event.actor, event.actor),
        }
        for event in file.events.all()
    ]


def now_of(file: StoredFile) -> Look:
    """How the slots and transfers looked when this request read the file; the admin put it there."""
    now: Look = vars(file)["now"]
    return now


def exact(size: int) -> str:
    """ "3.38 GiB (3,624,892,618 bytes)"."""
    return str(_("%(short)s (%(bytes)s bytes)") % {"short": short_size(size), "bytes": f"{size:,}"})


def sender_of(sent: StoredFile | Batch) -> str:
    if sent.owner is not None:
        return sent.owner.get_username()
    return format_html("{}<br><small>{}</small>", sent.person.removeprefix("address:"), _("anonymous"))


def password_of(subject: StoredFile | Batch) -> str:
    """That there is a password, and whose; what is kept of it is shown to nobody."""
    if subject.password_hash:
        return str(_("its own"))
    if isinstance(subject, StoredFile) and subject.batch is not None and subject.batch.password_hash:
        return str(_("that of its batch"))
    return str(_("none"))


class OnlyLooking:
    """For a `ModelAdmin` whose rows nobody edits: those who may change files may act on them by buttons (`steer`)."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("uploads.view_storedfile") or self.has_steer_permission(request)

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("uploads.change_storedfile")


class FoundById(admin.ModelAdmin):
    """Finds rows by their whole id too, as links and logs have it."""

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)


class FileFields:
    """The facts of `StoredFile`, for a `ModelAdmin`."""

    @admin.display(description=_("size"), ordering="size")
    def shown_size(self, file: StoredFile) -> str:
        """With how much of it is there, while that is not all or nothing."""
        if file.status not in ACTIVE:
            return short_size(file.size)
        percent = shown.percent(now_of(file).stored(file), file.size)
        return format_html(
            "{}<br><small>{}</small>", short_size(file.size), _("%(percent)d %% stored") % {"percent": percent}
        )

    @admin.display(description=_("size"))
    def exact_size(self, file: StoredFile) -> str:
        return exact(file.size)

    @admin.display(description=_("stored"))
    def exact_stored(self, file: StoredFile) -> str:
        if file.status in TERMINAL:
            return str(_("nothing any more"))
        stored = now_of(file).stored(file)
        return f"{shown.percent(stored, file.size)} %, {exact(stored)}"

    @admin.display(description=_("state"), ordering="status")
    def shown_state(self, file: StoredFile) -> str:
        state = now_of(file).row_state(file)
        words: Any = shown.STATE_WORDS[state]
        ticket = now_of(file).tickets.get(str(file.pk))
        if ticket is not None and state == shown.Shown.QUEUED:
            reason = shown.REASONS[ticket.waiting_for.value]
            place = _("place %(position)d, waits %(reason)s") % {"position": ticket.position, "reason": reason}
            return format_html('<span class="ddx-state ddx-{}">{}</span> <small>{}</small>', state, words, place)
        return format_html('<span class="ddx-state ddx-{}">{}</span>', state, words)

    @admin.display(description=_("sender"), ordering="owner__username")
    def shown_sender(self, file: StoredFile) -> str:
        return sender_of(file)

    @admin.display(description=_("batch"))
    def shown_batch(self, file: StoredFile) -> str:
        if file.batch is None:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:uploads_batch_change", args=[file.batch_id]), file.batch
        )

    @admin.display(description=_("password"))
    def shown_password(self, file: StoredFile) -> str:
        return password_of(file)

    @admin.display(description=_("reserved in that day's quota"), boolean=True)
    def shown_reservation(self, file: StoredFile) -> bool:
        return file.quota_reserved

    @admin.display(description=_("last error"), ordering="error_code")
    def last_error(self, file: StoredFile) -> str:
        if not file.error_code:
            return "–"
        # The code may break after its underscores: the column is narrow.
        words = format_html_join(mark_safe("_<wbr>"), "{}", ((word,) for word in file.error_code.split("_")))
        return format_html('<span class="ddx-error" title="{}">{}</span>', file.error_detail, words)

    @admin.display(description=_("storage"))
    def shown_storage(self, file: StoredFile) -> str:
        """With the account whose Drive has it, or is getting it."""
        account = drive_accounts.account_of(file.pk)
        return file.storage if account is None else f"{file.storage}: {account}"

    @admin.display(description=_("CRC-32"))
    def shown_crc32(self, file: StoredFile) -> str:
        return "–" if file.crc32 is None else f"{file.crc32:08x}"

    @admin.display(description=_("receipt"))
    def shown_receipt(self, file: StoredFile) -> str:
        if file.receipt is None:
            return "–"
        return format_html('<pre class="ddx-receipt">{}</pre>', json.dumps(file.receipt, indent=2, ensure_ascii=False))
