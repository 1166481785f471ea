"""What admins say of single persons: limits of their own. Which one is in force for whom is `services`' to say."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from quotas import words
from quotas.forms import OWN_SIZES
from quotas.models import AboutPerson, PersonLimit
from quotas.networks import canonical_network
from quotas.rules import ACCOUNT, ADDRESS


class InForceFilter(admin.SimpleListFilter):
    """What counts now, and what is over and only stands there still."""

    title = _("state")
    parameter_name = "in_force"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("in force")), ("no", _("over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        over = Q(until__lte=timezone.now())
        return {"yes": queryset.exclude(over), "no": queryset.filter(over)}.get(self.value() or "", queryset)


class AboutPersonAdmin(admin.ModelAdmin):
    """What is common to the pages of `AboutPerson`: who it is about, until when, and whether that is over."""

    autocomplete_fields = ("account",)
    list_select_related: ClassVar[Any] = ("account",)
    list_filter = (InForceFilter,)
    search_fields: ClassVar[tuple[str, ...]] = ("account__username", "account__email", "network")
    search_help_text = _("Part of an account's name or e-mail, of an address or of a note")
    show_full_result_count = False

    @admin.display(description=_("person"))
    def who(self, entry: AboutPerson) -> str:
        return str(entry)

    @admin.display(description=_("in force"), boolean=True)
    def counts_now(self, entry: AboutPerson) -> bool:
        return entry.in_force(timezone.now())


@admin.register(PersonLimit)
class PersonLimitAdmin(AboutPersonAdmin):
    list_display = ("who", "counts_now", "until", "shown_file", "shown_day", "shown_files", "note")
    fieldsets = (
        (_("Whom it is for"), {"fields": ("account", "network")}),
        (_("What they may send"), {"fields": ("file_bytes", "daily_bytes", "daily_files", "no_limits")}),
        (_("How long"), {"fields": ("until", "note")}),
    )
    formfield_overrides = OWN_SIZES
    search_fields = (*AboutPersonAdmin.search_fields, "note")

    @admin.display(description=_("largest file"), ordering="file_bytes")
    def shown_file(self, limit: PersonLimit) -> str:
        return words.own_limit_in_words(limit, "file_bytes")

    @admin.display(description=_("total a day"), ordering="daily_bytes")
    def shown_day(self, limit: PersonLimit) -> str:
        return words.own_limit_in_words(limit, "daily_bytes")

    @admin.display(description=_("files a day"), ordering="daily_files")
    def shown_files(self, limit: PersonLimit) -> str:
        return words.own_limit_in_words(limit, "daily_files")


def page_about(request: HttpRequest, model: type[AboutPerson], person: str) -> str:
    """The admin page on which to say this of this person: that of the entry there is, else that for a new one.

    Empty for a person whom no entry can name, and for an admin who may not.
    """
    name = f"{model._meta.app_label}_{model._meta.model_name}"
    if person.startswith(ACCOUNT):
        values = {"account": person.removeprefix(ACCOUNT)}
    else:
        try:
            values = {"network": canonical_network(person.removeprefix(ADDRESS))}
        except ValueError:
            return ""
    entry = model._default_manager.filter(**values).first()
    verb = "change" if entry else "add"
    if not request.user.has_perm(f"{model._meta.app_label}.{verb}_{model._meta.model_name}"):
        return ""
    if entry:
        return reverse(f"admin:{name}_change", args=[entry.pk])
    return f"{reverse(f'admin:{name}_add')}?{urlencode(values)}"
