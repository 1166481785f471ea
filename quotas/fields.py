"""Columns that hold what people type in its one canonical form, so that the database can compare it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from quotas.networks import canonical_network

LONGEST_NETWORK = 43  # an IPv6 address in full, and its prefix


class NetworkField(models.CharField):
    """An IP address or network, as `networks.canonical_network` writes it; empty for none."""

    default_error_messages = {  # noqa: RUF012 - as Django's own fields have it
        "invalid": _("“%(value)s” is no IP address or network."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", LONGEST_NETWORK)
        super().__init__(*args, **kwargs)

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return ""
        try:
            return canonical_network(str(value))
        except ValueError:
            shown = {"value": str(value)[:LONGEST_NETWORK]}
            raise ValidationError(self.error_messages["invalid"], code="invalid", params=shown) from None

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else self.to_python(value)
