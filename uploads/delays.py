"""How long somebody has to wait, in a sentence."""

import math

from django.utils.translation import ngettext

SECONDS_UP_TO, MINUTES_UP_TO = 120, 120 * 60


def try_again_in(seconds: int) -> str:
    """When to try again: in seconds, from two minutes on in minutes, from two hours on in hours."""
    if seconds < SECONDS_UP_TO:
        number = seconds
        words = ngettext("Please try again in %(n)s second.", "Please try again in %(n)s seconds.", number)
    elif seconds < MINUTES_UP_TO:
        number = math.ceil(seconds / 60)
        words = ngettext("Please try again in %(n)s minute.", "Please try again in %(n)s minutes.", number)
    else:
        number = math.ceil(seconds / 3600)
        words = ngettext("Please try again in %(n)s hour.", "Please try again in %(n)s hours.", number)
    return words % {"n": number}
