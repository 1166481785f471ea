"""Batches in the admin: what became of each, and cancelling what is unfinished of them. Nothing is edited here."""

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from quotas.sizes import short_size
from uploads import batches, links, shown, steering
from uploads.admin_fields import FoundById, OnlyLooking, exact, password_of, sender_of
from uploads.batches import BatchSummary
from uploads.errors import UploadError
from uploads.models import Batch
from uploads.states import BatchStatus

FIELDSETS: Any = (
    (None, {"fields": ("title", "shown_status", "shown_files", "exact_size", "id", "link", "created_at")}),
    (_("Sender"), {"fields": ("shown_sender", "person", "visitor")}),
    (_("Sharing"), {"fields": ("shown_password", "max_downloads", "downloads", "expires_in", "revoked_at")}),
)
# So many may hold 20,000 files: as many as are cancelled before a browser gives up waiting.
MOST_BATCHES = 20


def summary_of(batch: Batch) -> BatchSummary:
    """What the batch was when this request read it; the admin put it there."""
    summary: BatchSummary = vars(batch)["summary"]
    return summary


def look_at(some: list[Batch]) -> None:
    found = batches.summaries(some, timezone.now())
    for batch in some:
        vars(batch)["summary"] = found[batch.pk]


class BatchAdmin(OnlyLooking, FoundById):
    list_display = ("shown_name", "shown_status", "shown_files", "shown_size", "shown_sender", "created_at")
    list_filter = (("created_at", admin.DateFieldListFilter),)
    list_select_related = ("owner",)
    list_per_page = 50
    date_hierarchy = "created_at"
    show_full_result_count = False
    search_fields = ("title", "owner__username", "owner__email", "person")
    search_help_text = _("Part of a title, a whole batch id, an account or an address")
    actions = ("cancel_selected",)
    fieldsets = FIELDSETS
    readonly_fields = tuple(field for _title, options in FIELDSETS for field in options["fields"])

    # --- what is shown ---

    @admin.display(description=_("batch"), ordering="title")
    def shown_name(self, batch: Batch) -> str:
        if batch.title:
            return batch.title
        files = summary_of(batch).files
        words = ngettext("%(count)d file", "%(count)d files", files) % {"count": files}
        return format_html("{}<br><small>{}</small>", words, str(batch.pk)[:8])

    @admin.display(description=_("state"))
    def shown_status(self, batch: Batch) -> str:
        status = summary_of(batch).status
        if status is None:
            return str(_("all files deleted"))
        return format_html('<span class="ddx-state ddx-{}">{}</span>', status, shown.BATCH_WORDS[status])

    @admin.display(description=_("files"))
    def shown_files(self, batch: Batch) -> str:
        summary = summary_of(batch)
        counts = _("%(completed)d of %(all)d complete") % {"completed": summary.completed, "all": summary.files}
        address = reverse(f"{self.admin_site.name}:uploads_storedfile_changelist")
        return format_html('<a href="{}?batch={}">{}</a>', address, batch.pk, counts)

    @admin.display(description=_("size"))
    def shown_size(self, batch: Batch) -> str:
        return short_size(summary_of(batch).total_size)

    @admin.display(description=_("size"))
    def exact_size(self, batch: Batch) -> str:
        return exact(summary_of(batch).total_size)

    @admin.display(description=_("sender"), ordering="owner__username")
    def shown_sender(self, batch: Batch) -> str:
        return sender_of(batch)

    @admin.display(description=_("password"))
    def shown_password(self, batch: Batch) -> str:
        return password_of(batch)

    @admin.display(description=_("link"))
    def link(self, batch: Batch) -> str:
        return format_html('<a href="{0}">{0}</a>', links.batch_path(batch.pk))

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        look_at(changes.result_list)
        return changes

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Batch | None:
        batch = super().get_object(request, object_id, from_field)
        if batch is not None:
            look_at([batch])
        return batch

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        batch = context.get("original")
        if batch is not None:
            is_coming = summary_of(batch).status == BatchStatus.UPLOADING
            context |= {"may_cancel": is_coming and self.has_steer_permission(request)}
        return super().render_change_form(request, context, *args, **kwargs)

    # --- what can be done ---

    def get_urls(self) -> list[Any]:
        cancel = path(
            "<uuid:batch_id>/cancel", self.admin_site.admin_view(self.cancel_view), name="uploads_batch_cancel"
        )
        return [cancel, *super().get_urls()]

    def cancel_view(self, request: HttpRequest, batch_id: UUID) -> HttpResponse:
        """Cancel what is unfinished of one batch; asks first."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_steer_permission(request):
            raise PermissionDenied
        batch = Batch.objects.filter(pk=batch_id).first()
        if batch is None:
            raise Http404
        if request.POST.get("confirmed") != "yes":
            return self._ask(request, [batch])
        self._cancel(request, batch)
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:uploads_batch_change", args=[batch.pk]))

    @admin.action(description=_("Cancel what is unfinished of the selected batches"), permissions=["steer"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Batch]) -> Any:
        if queryset.count() > MOST_BATCHES:
            text = _("Please choose at most %(most)d batches at a time.") % {"most": MOST_BATCHES}
            self.message_user(request, text, messages.WARNING)
            return None
        if request.POST.get("confirmed") != "yes":
            return self._ask(request, list(queryset), "cancel_selected")
        for batch in queryset:
            self._cancel(request, batch)
        return None

    def _cancel(self, request: HttpRequest, batch: Batch) -> None:
        actor = f"admin {request.user.get_username()}"[:80]
        try:
            cancelled = async_to_sync(steering.cancel_batch)(batch, actor)
        except UploadError as error:
            self.message_user(request, f"{batch}: {error.detail}", messages.ERROR)
            return
        text = ngettext("%d upload was cancelled.", "%d uploads were cancelled.", cancelled) % cancelled
        if cancelled:
            self.log_change(request, batch, text)
        self.message_user(request, f"{batch}: {text}", messages.SUCCESS)

    def _ask(self, request: HttpRequest, some: list[Batch], action: str = "") -> TemplateResponse:
        look_at(some)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Cancel what is unfinished"),
            "opts": self.model._meta,
            "batches": [(batch, summary_of(batch).unfinished) for batch in some],
            "action": action,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/uploads/batch/confirm.html", context)
