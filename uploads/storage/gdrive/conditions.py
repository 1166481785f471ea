"""How an account fares, in one word for programs and pages. Needs no Django."""

from enum import StrEnum


class Condition(StrEnum):
    OFF = "off"
    FAILING = "failing"  # its circuit is open
    TRYING = "trying"  # its circuit is half-open
    FULL = "full"
    SPENT = "spent"  # the budget of 24 hours
    UNKNOWN = "unknown"  # it was not asked yet
    STRAINED = "strained"  # it failed lately, and is used
    WELL = "well"


# In these it may be given the next file.
USABLE = frozenset({Condition.WELL, Condition.STRAINED})
