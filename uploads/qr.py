"""A link as a picture that the camera of another device reads."""

from functools import lru_cache

import segno
from django.utils.safestring import SafeString, mark_safe


@lru_cache(maxsize=256)
def qr_code(url: str) -> SafeString:
    """An SVG without script and style, dark on light in any colour scheme, since cameras expect it so."""
    code = segno.make(url, error="m", micro=False)
    return mark_safe(  # noqa: S308 - made of numbers alone
        code.svg_inline(border=4, omitsize=True, dark="#000", light="#fff", svgclass=None, lineclass=None)
    )
