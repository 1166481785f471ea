"""Columns that hold what people type in its one canonical form, so that the database can compare it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from quotas.file_types import LONGEST_PATTERN, canonical_pattern
from quotas.networks import canonical_network

LONGEST_NETWORK = 43  # an IPv6 address in full, and its prefix


class CanonicalField(models.CharField):
    """A text in the form that `canonical` gives it, which raises ValueError for what has none; empty for none."""

    longest: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", self.longest)
        super().__init__(*args, **kwargs)

    def canonical(self, text: str) -> str:
        raise NotImplementedError

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return ""
        try:
            return self.canonical(str(value))
        except ValueError:
            shown = {"value": str(value)[:40]}
            raise ValidationError(self.error_messages["invalid"], code="invalid", params=shown) from None

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else self.to_python(value)


class NetworkField(CanonicalField):
    """An IP address or network."""

    longest = LONGEST_NETWORK
    default_error_messages = {  # noqa: RUF012 - as Django's own fields have it
        "invalid": _("“%(value)s” is no IP address or network."),
    }

    def canonical(self, text: str) -> str:
        return canonical_network(text)


class FileTypeField(CanonicalField):
    """An extension or a media type."""

    longest = LONGEST_PATTERN
    default_error_messages = {  # noqa: RUF012 - as Django's own fields have it
        "invalid": _("“%(value)s” is neither an extension, such as scr, nor a media type, such as application/hta."),
    }

    def canonical(self, text: str) -> str:
        return canonical_pattern(text)
