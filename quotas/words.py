"""Limits in words, for the people who read them in the admin."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.db.models import Field
from django.utils.formats import date_format, number_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from quotas import rules, services
from quotas.models import Audience, AudienceLimit, Environment, LimitProfile, PersonLimit
from quotas.sizes import short_size


@dataclass(frozen=True)
class LimitLine:
    """One limit in words. `variable` names the environment variable that wins over the profile, if one does."""

    name: str
    value: str
    variable: str | None
    profile_value: str


def active_environment() -> str:
    return str(Environment(settings.ENVIRONMENT).label)


def lines_in_force() -> list[LimitLine]:
    """Every limit in force now, with the audiences' own after those that the environment may override."""
    profile = services.active_profile()
    limits = rules.limits_in_force(profile, settings.LIMIT_OVERRIDES)
    lines = [
        LimitLine(
            field_label(LimitProfile, limit.name),
            value_in_words(limit.name, limit.value),
            limit.source if limit.overridden else None,
            value_in_words(limit.name, limit.profile_value),
        )
        for limit in limits
    ]
    switch = next(limit for limit in limits if limit.name == "limits_enforced")
    for audience in Audience:
        in_force = rules.person_limits(profile, settings.LIMIT_OVERRIDES, audience.value)
        for name in services.AUDIENCE_FIELDS:
            own = getattr(profile.audiences[audience.value], name)
            value = getattr(in_force, name)
            lines.append(
                LimitLine(
                    f"{field_label(AudienceLimit, name)} ({audience.label})",
                    value_in_words(name, value),
                    switch.source if switch.overridden and not switch.value and own is not None else None,
                    value_in_words(name, own),
                )
            )
    return lines


def field_label(model: type[LimitProfile | AudienceLimit], name: str) -> str:
    field = cast("Field[Any, Any]", model._meta.get_field(name))
    return str(capfirst(field.verbose_name))


def value_in_words(name: str, value: int | bool | None) -> str:
    if value is None:
        return _("unlimited")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if name.endswith("_bytes"):
        return short_size(value)
    if name.endswith("_percent"):
        return _("%(number)d %%") % {"number": value}
    return number_format(value, force_grouping=True)


def own_limit_in_words(own: PersonLimit | rules.OwnLimits, name: str) -> str:
    """One limit of a person's own; a dash where it is as everybody else's."""
    if own.no_limits:
        return _("unlimited")
    value = getattr(own, name)
    return "–" if value is None else value_in_words(name, value)


def own_limits_in_words(own: rules.OwnLimits | None) -> str:
    """All limits of a person's own on one line, and until when; a dash where there are none."""
    if own is None:
        return "–"
    if own.no_limits:
        parts = [_("no limits at all")]
    else:
        parts = [
            f"{field_label(AudienceLimit, name)}: {own_limit_in_words(own, name)}"
            for name in services.AUDIENCE_FIELDS
            if getattr(own, name) is not None
        ]
    if own.until:
        parts.append(_("until %(moment)s UTC") % {"moment": date_format(own.until, "SHORT_DATETIME_FORMAT")})
    return ", ".join(parts) or "–"


def advice(profile: LimitProfile, changed: Iterable[str]) -> list[str]:
    """What somebody who just changed these fields of the profile ought to know, in sentences."""
    sentences = []
    if profile.environment != settings.ENVIRONMENT:
        sentences.append(
            _("This profile is not in force: the environment here is %(environment)s.")
            % {"environment": active_environment()}
        )
    else:
        sentences += [
            _("“%(limit)s” stays at %(value)s, because the environment variable %(variable)s is set and wins.")
            % {
                "limit": field_label(LimitProfile, limit.name),
                "value": value_in_words(limit.name, limit.value),
                "variable": limit.source,
            }
            for limit in services.limits_in_force()
            if limit.overridden and limit.name in changed
        ]
    for limit in profile.audience_limits.all():
        if limit.daily_bytes is not None and (limit.file_bytes is None or limit.file_bytes > limit.daily_bytes):
            sentences.append(
                _(
                    "%(audience)s: one file may be larger (%(file)s) than all of a day together (%(day)s), "
                    "so files above %(day)s are refused all the same."
                )
                % {
                    "audience": capfirst(limit.get_audience_display()),
                    "file": value_in_words("file_bytes", limit.file_bytes),
                    "day": value_in_words("daily_bytes", limit.daily_bytes),
                }
            )
    return sentences
