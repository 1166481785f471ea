"""What a file is called when it is saved: Content-Disposition by RFC 6266.

Beside a name outside ASCII stands one within it: some programs (`curl -OJ`) know no other, and would save the file
under the last part of its address.
"""

import re
import unicodedata
from urllib.parse import quote

from django.utils.http import content_disposition_header

from uploads.delivery.zip_names import safe_part, split_extension

NAMELESS = "file"
# Browsers take a percent sign for the beginning of an encoded letter.
_NOT_PLAIN = re.compile(r"[^\x20-\x24\x26-\x7e]+")


def disposition(name: str, *, is_attachment: bool = True) -> str:
    """The header for what is to be saved, or shown, under `name`, which is made safe as names inside a ZIP are."""
    name = safe_part(name)
    plain = plain_name(name)
    header = content_disposition_header(is_attachment, plain) or ""
    return header if plain == name else f"{header}; filename*=utf-8''{quote(name, safe='')}"


def plain_name(name: str) -> str:
    """The safe name in ASCII: without accents, with one `_` for whatever has no letter there; its extension stays."""
    stem, extension = map(_plain, split_extension(name))
    if not any(map(str.isalnum, stem)) and stem != split_extension(name)[0]:
        stem = NAMELESS
    return safe_part(stem + extension)


def _plain(text: str) -> str:
    apart = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return _NOT_PLAIN.sub("_", apart)
