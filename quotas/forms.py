"""Form fields and forms of the admin: sizes are read and shown as people write them."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from quotas.models import LimitProfile
from quotas.rules import MOST_BYTES
from quotas.sizes import exact_size, parse_size


class ByteSizeInput(forms.TextInput):
    """A text input that says behind it how many bytes its text means, and what it means where it is `empty`."""

    empty: Any = _("unlimited")

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        field = super().render(name, value, attrs, renderer)
        return format_html('{} <span class="size-echo">{}</span>', field, self._meaning(value))

    def _meaning(self, value: Any) -> str:
        if value in (None, ""):
            return "" if self.is_required else str(self.empty)
        try:
            size = parse_size(str(value))
        except ValueError:
            return ""  # the field's error says what is wrong
        return ngettext("= %(count)s byte", "= %(count)s bytes", size) % {
            "count": number_format(size, force_grouping=True)
        }


class OwnByteSizeInput(ByteSizeInput):
    empty = _("as everybody else")


class ByteSizeField(forms.IntegerField):
    """Accepts "2 GiB", "500 MB" or plain bytes; its value is a whole number of bytes, None where it is empty."""

    widget = ByteSizeInput
    default_error_messages = {  # noqa: RUF012 - as Django's own fields have it
        "invalid": _("“%(value)s” is not a size. Write it like 2 GiB, 500 MB or 1048576 (bytes)."),
        "too_large": _("“%(value)s” is more than can be stored; the most is 8191 PiB."),
    }

    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values:
            return None
        try:
            size = parse_size(str(value))
        except ValueError:
            raise self._error("invalid", value)
        if size > MOST_BYTES:
            raise self._error("too_large", value)
        return size

    def prepare_value(self, value: Any) -> Any:
        return exact_size(value) if isinstance(value, int) else value

    def _error(self, code: str, value: Any) -> ValidationError:
        return ValidationError(self.error_messages[code], code=code, params={"value": str(value)[:40]})


# For a ModelAdmin whose numbers of this kind are sizes: those of all, and those of one person.
SIZES: dict[type[models.Field], dict[str, Any]] = {
    models.BigIntegerField: {"form_class": ByteSizeField, "widget": ByteSizeInput}
}
OWN_SIZES: dict[type[models.Field], dict[str, Any]] = {
    models.BigIntegerField: {"form_class": ByteSizeField, "widget": OwnByteSizeInput}
}


class LimitProfileForm(forms.ModelForm):
    class Meta:
        model = LimitProfile
        fields = "__all__"  # noqa: DJ007 - the admin names the fields

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        total = cleaned.get("max_concurrent_uploads")
        each = cleaned.get("max_concurrent_uploads_per_user")
        if total is not None and each is not None and each > total:
            self.add_error(
                "max_concurrent_uploads_per_user",
                ValidationError(
                    _("One person cannot have more slots (%(each)d) than there are for all (%(total)d)."),
                    code="more_than_all",
                    params={"each": each, "total": total},
                ),
            )
        return cleaned
