"""The form of a Drive account. Secrets go in, and never come out again: an empty field keeps what is stored."""

import contextlib
import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from uploads import drive_accounts
from uploads.drive_models import DriveAccount, Kind
from uploads.storage.gdrive import troubles
from uploads.storage.gdrive.sealed import client_of
from uploads.storage.gdrive.troubles import TroubleError

# https://drive.google.com/drive/folders/ID, /drive/u/0/folders/ID, /drive/shared-drives…
ADDRESS = re.compile(r"https://drive\.google\.com/\S*?(?:folders/|id=)([\w-]+)")
ID = re.compile(r"[\w-]{1,128}", re.ASCII)
KEPT = _("empty keeps the one that is stored")
LARGEST_KEY = 64 * 1024


class DriveAccountForm(forms.ModelForm):
    client_id = forms.CharField(
        label=_("Client id"),
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("for a person's account: from the OAuth client in the Google console"),
    )
    client_secret = forms.CharField(
        label=_("Client secret"),
        required=False,
        max_length=255,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=_("for a person's account: from the same place"),
    )
    key_file = forms.FileField(
        label=_("Key file"),
        required=False,
        help_text=_("for a service account: its JSON key"),
    )

    class Meta:
        model = DriveAccount
        fields = ("name", "kind", "folder_id", "enabled", "priority", "reserve_bytes", "daily_bytes")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stored: dict[str, Any] = {}
        if self.instance.pk:
            with contextlib.suppress(TroubleError):  # none, or none that can be read: all have to be entered
                self.stored = dict(client_of(self.instance.sealed_credentials))
            self.fields["client_id"].initial = self.stored.get("client_id", "")
            for name in ("client_secret", "key_file") if self.stored else ():
                self.fields[name].help_text = KEPT

    def clean_folder_id(self) -> str:
        text = str(self.cleaned_data["folder_id"]).strip()
        if match := ADDRESS.match(text):
            return match[1]
        if text and not ID.fullmatch(text):
            raise ValidationError(_("This is neither the address of a folder on Google Drive nor an id."))
        return text

    def clean_key_file(self) -> dict[str, Any] | None:
        file = self.cleaned_data.get("key_file")
        if not file:
            return None
        if file.size > LARGEST_KEY:
            raise ValidationError(_("This is no key of a service account: it is too large."))
        try:
            return drive_accounts.service_key(file.read().decode())
        except ValueError:
            raise ValidationError(_("This is no JSON key of a service account.")) from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = self.instance.kind if self.instance.pk else cleaned.get("kind")
        if kind == Kind.SERVICE:
            self._clean_service(cleaned)
        else:
            self._clean_oauth(cleaned)
        return cleaned

    def _clean_service(self, cleaned: dict[str, Any]) -> None:
        if "folder_id" in cleaned and not cleaned["folder_id"]:
            self.add_error("folder_id", ValidationError(troubles.SENTENCES[troubles.NO_SHARED_DRIVE]))
        if "key_file" in cleaned and not cleaned["key_file"] and not self.stored:
            self.add_error("key_file", ValidationError(_("A service account needs its key file.")))

    def _clean_oauth(self, cleaned: dict[str, Any]) -> None:
        client, secret = cleaned.get("client_id"), cleaned.get("client_secret")
        if not client:
            self.add_error("client_id", ValidationError(_("A person's account needs an OAuth client.")))
        elif not secret and client != self.stored.get("client_id"):
            self.add_error("client_secret", ValidationError(_("Another client has another secret.")))

    def new_credentials(self) -> dict[str, Any] | None:
        """What is to be sealed in place of what is stored; None where that stays."""
        if self.instance.kind == Kind.SERVICE:
            return self.cleaned_data["key_file"]
        client, secret = self.cleaned_data["client_id"], self.cleaned_data["client_secret"]
        if client != self.stored.get("client_id"):
            return {"client_id": client, "client_secret": secret}  # a refresh token belongs to its client
        return {**self.stored, "client_secret": secret} if secret else None
