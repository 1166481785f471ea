"""Files in the admin: what they are, what happened to them and why, and what an admin can do about it.

Nothing is edited here. Rows change through `services` alone, so that a connection, the storage and the quota follow;
the buttons and bulk actions call `steering`, and Django's own delete is off.
"""

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from uploads import drive_admin, shown, steering  # noqa: F401 - Django looks for pages here alone
from uploads.admin_fields import FIELDS, FIELDSETS, FileFields, FoundById, OnlyLooking, history_of, now_of
from uploads.batch_admin import BatchAdmin
from uploads.errors import UploadError
from uploads.lifecycle import is_paused
from uploads.models import Batch, StoredFile
from uploads.states import Shown, Status
from uploads.steering import Act

# More would not fit into the form that asks for confirmation.
MOST_FILES = 500
# So many failures of one bulk action are told one by one.
MOST_MESSAGES = 20


class StateFilter(admin.SimpleListFilter):
    """By state as shown: a pending file in the line or with a slot is found as such."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(shown.STATE_WORDS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        value = self.value()
        if value in (Shown.QUEUED, Shown.UPLOADING):
            now = async_to_sync(shown.look_at_all)()
            found = now.tickets if value == Shown.QUEUED else now.leases
            return queryset.filter(status=Status.PENDING, pk__in=list(found))
        return queryset.filter(status=value) if value in shown.STATE_WORDS else queryset


class BatchFilter(admin.SimpleListFilter):
    """The files of one batch: its page leads here. There are too many batches to choose one from a list."""

    title = _("batch")
    parameter_name = "batch"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        batch = self._batch(request.GET.get(self.parameter_name, ""))
        return [(str(batch.pk), str(batch))] if batch else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        return queryset.filter(batch=self._batch(self.value() or "")) if self.value() else queryset

    @staticmethod
    def _batch(value: str) -> Batch | None:
        try:
            return Batch.objects.filter(pk=UUID(value)).first()
        except ValueError:
            return None


@admin.register(StoredFile)
class StoredFileAdmin(OnlyLooking, FileFields, FoundById):
    list_display = (
        "filename",
        "shown_state",
        "shown_size",
        "last_error",
        "shown_sender",
        "created_at",
    )
    list_filter = (StateFilter, BatchFilter, ("created_at", admin.DateFieldListFilter))
    list_select_related = ("owner",)
    list_per_page = 50
    ordering = ("-created_at", "position", "-id")
    date_hierarchy = "created_at"
    show_full_result_count = False
    search_fields = ("filename", "owner__username", "owner__email", "person")
    search_help_text = _("Part of a name, a whole file id, an account or an address")
    actions = ("cancel_selected", "delete_selected_files", "release_selected")
    fieldsets = FIELDSETS
    readonly_fields = FIELDS

    # --- what is shown ---

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        now = async_to_sync(shown.look_at_all)()
        for file in changes.result_list:
            vars(file)["now"] = now
        return changes

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> StoredFile | None:
        file = super().get_object(request, object_id, from_field)
        if file is not None:
            vars(file)["now"] = async_to_sync(shown.look_at_all)()
        return file

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        file = context.get("original")
        if file is not None:
            place = now_of(file).place(file)
            acts = []
            if self.has_steer_permission(request):
                acts = steering.possible(file.status, place, paused=place is None and is_paused(file.pk))
            context |= {
                "acts": [(act.value, steering.LABELS[act], act in steering.FINAL) for act in acts],
                "history": history_of(file),
                "trouble": shown.code_words(file.error_code) if file.error_code else "",
            }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- what can be done ---

    def get_urls(self) -> list[Any]:
        steer = path(
            "<uuid:file_id>/steer/<str:act>",
            self.admin_site.admin_view(self.steer_view),
            name="uploads_storedfile_steer",
        )
        return [steer, *super().get_urls()]

    def steer_view(self, request: HttpRequest, file_id: UUID, act: str) -> HttpResponse:
        """Do one act to one file; a final one asks first. Scripts that accept JSON get JSON."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_steer_permission(request):
            raise PermissionDenied
        file = StoredFile.objects.filter(pk=file_id).first()
        if file is None or act not in set(Act):
            raise Http404
        todo = Act(act)
        wants_json = request.get_preferred_type(["text/html", "application/json"]) == "application/json"
        if todo in steering.FINAL and request.POST.get("confirmed") != "yes":
            if wants_json:
                return JsonResponse({"ok": False, "detail": str(_("Please confirm this first."))}, status=409)
            return self._ask(request, todo, [file])
        error = self._steer(request, todo, file)
        if wants_json:
            answer = {"ok": error is None, "detail": error.detail if error else str(steering.DONE[todo])}
            return JsonResponse(answer, status=(error.http_status or 409) if error else 200)
        if error:
            self.message_user(request, f"{file}: {error.detail}", messages.ERROR)
        else:
            self.message_user(request, f"{file}: {steering.DONE[todo]}", messages.SUCCESS)
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:uploads_storedfile_change", args=[file.pk]))

    def _steer(self, request: HttpRequest, act: Act, file: StoredFile) -> UploadError | None:
        actor = f"admin {request.user.get_username()}"[:80]
        try:
            async_to_sync(steering.steer)(act, file.pk, actor)
        except UploadError as error:
            return error
        self.log_change(request, file, str(steering.DONE[act]))
        return None

    def _ask(self, request: HttpRequest, act: Act, files: Any, action: str = "") -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": steering.LABELS[act],
            "opts": self.model._meta,
            "act": act.value,
            "files": files,
            "action": action,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/uploads/storedfile/confirm.html", context)

    def _steer_all(self, request: HttpRequest, act: Act, files: QuerySet[StoredFile], action: str) -> Any:
        if files.count() > MOST_FILES:
            text = _("Please choose at most %(most)d files at a time.") % {"most": MOST_FILES}
            self.message_user(request, text, messages.WARNING)
            return None
        if act in steering.FINAL and request.POST.get("confirmed") != "yes":
            return self._ask(request, act, files, action)
        done, failed = 0, 0
        for file in files:
            error = self._steer(request, act, file)
            if error is None:
                done += 1
            elif (failed := failed + 1) <= MOST_MESSAGES:
                self.message_user(request, f"{file}: {error.detail}", messages.ERROR)
        if failed > MOST_MESSAGES:
            more = failed - MOST_MESSAGES
            text = ngettext("%d more file could not be changed.", "%d more files could not be changed.", more)
            self.message_user(request, text % more, messages.ERROR)
        if done:
            text = ngettext("Done for %d file.", "Done for %d files.", done)
            self.message_user(request, text % done, messages.SUCCESS)
        return None

    @admin.action(description=_("Cancel the selected uploads"), permissions=["steer"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> Any:
        return self._steer_all(request, Act.CANCEL, queryset, "cancel_selected")

    @admin.action(description=_("Delete the selected files"), permissions=["steer"])
    def delete_selected_files(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> Any:
        return self._steer_all(request, Act.DELETE, queryset, "delete_selected_files")

    @admin.action(description=_("Release the slots of the selected uploads"), permissions=["steer"])
    def release_selected(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> Any:
        return self._steer_all(request, Act.RELEASE, queryset, "release_selected")


admin.site.register(Batch, BatchAdmin)
