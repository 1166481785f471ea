"""Drive accounts in the admin: what they are, how they fare, and the way to Google and back.

There only while files go to Drive (`STORAGE=gdrive`). What is secret is written and never shown.
"""

from contextlib import suppress
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from quotas.forms import SIZES
from quotas.sizes import exact_size, short_size
from uploads import drive_accounts, drive_consent
from uploads.admin_fields import exact
from uploads.drive_accounts import AsAWhole, Shown
from uploads.drive_forms import DriveAccountForm
from uploads.drive_models import DriveAccount, Kind
from uploads.storage.breaker import State
from uploads.storage.gdrive import troubles
from uploads.storage.gdrive.conditions import Condition
from uploads.storage.gdrive.oauth import ConsentError
from uploads.storage.gdrive.troubles import TroubleError

TONES = {
    Condition.WELL: "completed",
    Condition.FAILING: "failed",
    Condition.TRYING: "queued",
    Condition.FULL: "queued",
    Condition.SPENT: "queued",
    Condition.STRAINED: "queued",
}
CIRCUITS: dict[State, Any] = {
    State.CLOSED: _("closed: it is used"),
    State.OPEN: _("open: it is left alone for a while"),
    State.HALF_OPEN: _("half-open: it is being tried"),
}
OF_DRIVE: dict[State, Any] = {
    State.CLOSED: _("closed: Drive is used"),
    State.OPEN: _("open: Drive is left alone for a while"),
    State.HALF_OPEN: _("half-open: Drive is being tried"),
}
CIRCUIT_TONES = {State.CLOSED: "completed", State.OPEN: "failed", State.HALF_OPEN: "queued"}
TRIED_AGAIN = _("tried again at %(moment)s UTC")
WORKS = _("The account “%(account)s” works.")
TROUBLE = _("The account “%(account)s” is in trouble: %(sentence)s (%(cause)s)")

OTHERS = _(
    "The files of “%(account)s” lie with %(old)s, and this is the Drive of %(new)s: nothing was changed. Connect it "
    "with %(old)s, or add an account of its own for %(new)s."
)


def when(shown: Shown) -> str:
    """Until when it is so; a failing one is tried again then, and may fail on."""
    if shown.until is None:
        return ""
    text = TRIED_AGAIN if shown.condition is Condition.FAILING else _("until %(moment)s UTC")
    return text % {"moment": date_format(shown.until, "SHORT_DATETIME_FORMAT")}


def drive_in_words(drive: AsAWhole) -> dict[str, str]:
    """How Drive as a whole stands: the tone and the words of its circuit, when it is tried again, and the cause."""
    moment = date_format(drive.until, "SHORT_DATETIME_FORMAT") if drive.until else ""
    notes = [str(TRIED_AGAIN % {"moment": moment})] if moment else []
    notes += [drive.cause] if drive.cause else []
    return {
        "tone": CIRCUIT_TONES[drive.circuit],
        "words": str(OF_DRIVE[drive.circuit]),
        "notes": " · ".join(notes),
    }


def of(account: DriveAccount) -> Shown:
    """How it stands, as this request has read it."""
    seen: Shown = vars(account)["shown"]
    return seen


@admin.register(DriveAccount)
class DriveAccountAdmin(admin.ModelAdmin):
    form = DriveAccountForm
    formfield_overrides = SIZES
    list_display = ("name", "shown_condition", "shown_room", "shown_day", "identity", "priority", "enabled")
    search_fields = ("name", "identity")
    actions = None
    readonly_fields = (
        "identity",
        "drive_id",
        "exact_room",
        "shown_day",
        "shown_circuit",
        "failures",
        "failing_since",
        "checked_at",
    )

    # --- who may ---

    def has_module_permission(self, request: HttpRequest) -> bool:
        return settings.STORAGE == "gdrive" and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return settings.STORAGE == "gdrive" and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return settings.STORAGE == "gdrive" and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return settings.STORAGE == "gdrive" and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # One that has files is only switched off: they could no longer be downloaded.
        allowed = settings.STORAGE == "gdrive" and super().has_delete_permission(request, obj)
        return allowed and (obj is None or not drive_accounts.has_files(obj))

    # --- what is shown ---

    def get_fieldsets(self, request: HttpRequest, obj: DriveAccount | None = None) -> Any:
        if obj is None:
            google = ("kind", "client_id", "client_secret", "key_file", "folder_id")
            return (
                (None, {"fields": ("name", "enabled")}),
                (_("At Google"), {"fields": google}),
                (_("How much"), {"fields": ("priority", "reserve_bytes", "daily_bytes")}),
            )
        secrets = ("key_file",) if obj.kind == Kind.SERVICE else ("client_id", "client_secret")
        return (
            (None, {"fields": ("name", "enabled")}),
            (_("At Google"), {"fields": ("kind", *secrets, "folder_id", "identity", "drive_id")}),
            (
                _("How much"),
                {"fields": ("priority", "reserve_bytes", "daily_bytes", "exact_room", "shown_day")},
            ),
            (_("Health"), {"fields": ("shown_circuit", "failures", "failing_since", "checked_at")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: DriveAccount | None = None) -> Any:
        return self.readonly_fields if obj is None else ("kind", *self.readonly_fields)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        rows = list(changes.result_list)
        seen = drive_accounts.shown(rows, timezone.now())
        for row in rows:
            vars(row)["shown"] = seen[row.pk]
        changes.result_list = rows
        changes.drive = drive_in_words(drive_accounts.as_a_whole(timezone.now()))  # type: ignore[attr-defined]
        return changes

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> DriveAccount | None:
        account = super().get_object(request, object_id, from_field)
        if account is not None:
            vars(account)["shown"] = drive_accounts.shown([account], timezone.now())[account.pk]
        return account

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        account = context.get("original")
        # Who makes an OAuth client is asked for the address, and has to do that before an account can be added.
        context["redirect_uri"] = drive_consent.redirect_uri(request)
        if account is not None:
            context |= {
                "shown": of(account),
                "when": when(of(account)),
                "may_change": self.has_change_permission(request, account),
                "by_consent": account.kind == Kind.OAUTH,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("state"))
    def shown_condition(self, account: DriveAccount) -> str:
        shown = of(account)
        state = format_html('<span class="ddx-state ddx-{}">{}</span>', TONES.get(shown.condition, "none"), shown.words)
        notes = []
        if shown.until:
            notes.append(when(shown))
        if shown.trouble and shown.condition is not Condition.OFF:
            notes.append(shown.sentence)
        return format_html("{} <small>{}</small>", state, " · ".join(map(str, notes))) if notes else state

    @admin.display(description=_("room"))
    def shown_room(self, account: DriveAccount) -> str:
        room = of(account).room
        return "–" if room is None else short_size(room)

    @admin.display(description=_("room"))
    def exact_room(self, account: DriveAccount) -> str:
        room = of(account).room
        return str(_("Drive does not say")) if room is None else exact(room)

    @admin.display(description=_("last 24 hours"))
    def shown_day(self, account: DriveAccount) -> str:
        shown = of(account)
        words = {"used": short_size(shown.used), "budget": exact_size(account.daily_bytes)}
        if shown.reserved:
            return _("%(used)s of %(budget)s, %(reserved)s reserved") % {
                **words,
                "reserved": short_size(shown.reserved),
            }
        return _("%(used)s of %(budget)s") % words

    @admin.display(description=_("circuit"))
    def shown_circuit(self, account: DriveAccount) -> str:
        return str(CIRCUITS[of(account).circuit])

    # --- what can be done ---

    def save_model(self, request: HttpRequest, obj: DriveAccount, form: Any, change: bool) -> None:
        credentials = form.new_credentials()
        also: tuple[str, ...] = ()
        if credentials is not None:
            drive_accounts.keep_credentials(obj, credentials)
            also = drive_accounts.CREDENTIALS
        elif "folder_id" in form.changed_data:
            drive_accounts.begin_anew(obj)
            also = drive_accounts.FORGOTTEN
        edited = [name for name in form.changed_data if name in DriveAccountForm.Meta.fields]
        obj.save(update_fields=[*edited, *also] if change else None)
        if not change and obj.kind == Kind.OAUTH:
            messages.info(
                request, _("Now connect it: the button “Connect with Google” leads to Google's consent page.")
            )
        elif credentials is not None or {"folder_id", "enabled"} & set(form.changed_data):
            # Not before the row is there for everybody, and nobody waits for Google with the database in hand.
            transaction.on_commit(lambda: self._ask(request, obj))

    def response_add(
        self, request: HttpRequest, obj: DriveAccount, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To its own page, where the next step is."""
        if "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        super().response_add(request, obj, post_url_continue)
        return HttpResponseRedirect(self._page(obj))

    def get_urls(self) -> list[Any]:
        def named(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=f"uploads_driveaccount_{name}")

        return [
            named("<int:account_id>/connect/", self.connect_view, "connect"),
            named("<int:account_id>/check/", self.check_view, "check"),
            named("connected/", self.connected_view, "connected"),
            *super().get_urls(),
        ]

    def check_view(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Ask Drive now how the account fares."""
        account = self._posted(request, account_id)
        if not isinstance(account, DriveAccount):
            return account
        self._ask(request, account)
        return HttpResponseRedirect(self._page(account))

    def connect_view(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Say what will come, and show the way to Google. A form may not lead there by itself: the page's policy."""
        account = self._posted(request, account_id)
        if not isinstance(account, DriveAccount):
            return account
        try:
            address = drive_consent.out(request, account)
        except (ConsentError, TroubleError) as error:
            text = troubles.SENTENCES[error.code] if isinstance(error, TroubleError) else error
            messages.error(request, str(text))
            return HttpResponseRedirect(self._page(account))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Connect %(account)s with Google") % {"account": account},
            "opts": self.model._meta,
            "account": account,
            "address": address,
            "redirect_uri": drive_consent.redirect_uri(request),
            "host": drive_consent.google_host(),
        }
        return TemplateResponse(request, "admin/uploads/driveaccount/connect.html", context)

    def connected_view(self, request: HttpRequest) -> HttpResponse:
        """Google sent the admin back: with a code, or with a reason why not."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        try:
            account, credentials = drive_consent.back(request)
        except ConsentError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:uploads_driveaccount_changelist"))
        except TroubleError as error:
            messages.error(request, str(troubles.SENTENCES[error.code]))
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:uploads_driveaccount_changelist"))
        with suppress(TroubleError):  # it is asked again below, and told then
            if other := async_to_sync(drive_accounts.another_owner)(account, credentials):
                messages.error(request, OTHERS % {"account": account, "old": account.identity, "new": other})
                return HttpResponseRedirect(self._page(account))
        drive_accounts.keep_credentials(account, credentials)
        account.save(update_fields=drive_accounts.CREDENTIALS)
        self.log_change(request, account, str(_("Connected with Google.")))
        self._ask(request, account)
        return HttpResponseRedirect(self._page(account))

    def _posted(self, request: HttpRequest, account_id: int) -> DriveAccount | HttpResponse:
        """The account that a button is about; or the answer where it is no button, or may not be pressed."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        account = DriveAccount.objects.filter(pk=account_id).first()
        if account is None:
            raise Http404
        return account

    def _ask(self, request: HttpRequest, account: DriveAccount) -> None:
        trouble = async_to_sync(drive_accounts.check)(account.pk)
        if trouble is None:
            messages.success(request, WORKS % {"account": account})
        else:
            words = {"account": account, "sentence": troubles.SENTENCES[trouble.code], "cause": trouble}
            messages.warning(request, TROUBLE % words)

    def _page(self, account: DriveAccount) -> str:
        return reverse(f"{self.admin_site.name}:uploads_driveaccount_change", args=[account.pk])
