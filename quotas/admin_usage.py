"""What each person used on each day, to look at; and the ways from there to what can be done about it."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from quotas import services, words
from quotas.admin_people import page_about
from quotas.models import BlockedPerson, DailyUsage, PersonLimit
from quotas.rules import ACCOUNT, ADDRESS, account_person
from quotas.sizes import short_size

MOST_ACCOUNTS_FOUND = 200


class Usages(ChangeList):
    """A page of daily use on which each row knows whose it is, and what all that was asked for sums up to."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        know_persons(self.result_list)
        sums = self.queryset.order_by().aggregate(
            persons=Count("person", distinct=True),
            used=Sum("used_bytes", default=0),
            reserved=Sum("reserved_bytes", default=0),
            files=Sum("files", default=0),
        )
        self.sums = sums | {"used": short_size(sums["used"]), "reserved": short_size(sums["reserved"])}


class PersonFilter(admin.SimpleListFilter):
    """Those who signed in, or those who did not."""

    title = _("person")
    parameter_name = "who"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(ACCOUNT, _("accounts")), (ADDRESS, _("addresses"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DailyUsage]) -> QuerySet[DailyUsage]:
        kind = self.value()
        return queryset.filter(person__startswith=kind) if kind in (ACCOUNT, ADDRESS) else queryset


@admin.register(DailyUsage)
class DailyUsageAdmin(admin.ModelAdmin):
    """Read-only: the figures belong to `services`."""

    list_display = ("who", "day", "used", "reserved", "files", "own_limit")
    fields = ("who", "day", "used", "reserved", "files", "own_limit")
    list_filter = (PersonFilter, "day")
    date_hierarchy = "day"
    search_fields = ("person",)
    search_help_text = _("an address such as 192.0.2.7, or the name or e-mail of an account")
    show_full_result_count = False
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Usages

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> DailyUsage | None:
        usage = super().get_object(request, object_id, from_field)
        know_persons([usage] if usage else [])
        return usage

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        usage = context.get("original")
        if usage is not None:
            context["limit_page"] = page_about(request, PersonLimit, usage.person)
            context["block_page"] = page_about(request, BlockedPerson, usage.person)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DailyUsage], search_term: str
    ) -> tuple[QuerySet[DailyUsage], bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if search_term:
            accounts = get_user_model()._default_manager.filter(
                Q(username__icontains=search_term) | Q(email__icontains=search_term)
            )
            keys = [account_person(pk).key for pk in accounts.values_list("pk", flat=True)[:MOST_ACCOUNTS_FOUND]]
            found |= queryset.filter(person__in=keys)
        return found, duplicates

    @admin.display(description=_("person"), ordering="person")
    def who(self, usage: DailyUsage) -> str:
        return usage.who

    @admin.display(description=_("used"), ordering="used_bytes")
    def used(self, usage: DailyUsage) -> str:
        return short_size(usage.used_bytes)

    @admin.display(description=_("reserved"), ordering="reserved_bytes")
    def reserved(self, usage: DailyUsage) -> str:
        return short_size(usage.reserved_bytes)

    @admin.display(description=_("limit of their own"))
    def own_limit(self, usage: DailyUsage) -> str:
        return words.own_limits_in_words(usage.own_limits)


def know_persons(usages: Iterable[DailyUsage]) -> None:
    """Fill in whose these rows are: the name of an account that still exists, and limits of their own in force."""
    rows = list(usages)
    accounts = {usage: int(usage.person.removeprefix(ACCOUNT)) for usage in rows if usage.person.startswith(ACCOUNT)}
    names = get_user_model()._default_manager.in_bulk(set(accounts.values()))
    for usage, account_id in accounts.items():
        if account_id in names:
            usage.account_name = names[account_id].get_username()
    own = services.own_limits_of(PersonLimit.objects.all()) if rows else None
    for usage in rows:
        usage.own_limits = own.find(usage.person, timezone.now()) if own else None
