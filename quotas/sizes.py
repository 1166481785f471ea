"""Sizes as people write and read them: "2 GiB", "500 MB", "1048576". Needs no Django."""

import re
from decimal import ROUND_HALF_UP, Decimal

BINARY_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4, "PiB": 1024**5}
DECIMAL_UNITS = {"kB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4, "PB": 1000**5}

# A lone letter means the binary unit, as in coreutils.
_FACTORS = {"": 1, "b": 1} | {
    name.lower(): factor
    for units in (BINARY_UNITS, DECIMAL_UNITS, {name[0]: factor for name, factor in BINARY_UNITS.items()})
    for name, factor in units.items()
}
_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)\s*([a-z]*)", re.IGNORECASE)


def parse_size(text: str) -> int:
    """The number of bytes that `text` names, rounded down to whole ones.

    Raises ValueError for anything but digits with at most one point, and one known unit; "1,500 MB" is refused
    because the comma means thousands to some people and a fraction to others.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _FACTORS.get(match[2].lower()) if match else None
    if match is None or factor is None or (factor == 1 and "." in match[1]):
        raise ValueError(f"{text[:40]!r} is no size")
    return int(Decimal(match[1]) * factor)


def exact_size(size: int) -> str:
    """The shortest text with a unit that `parse_size` reads as exactly `size` bytes, or else their number alone."""
    units = [*reversed(BINARY_UNITS.items()), *reversed(DECIMAL_UNITS.items())]
    texts = [
        f"{_number(Decimal(size) / factor)} {name}"
        for name, factor in units
        if size >= factor and (size * 100) % factor == 0
    ]
    return min(texts, key=len, default=str(size))


def short_size(size: int) -> str:
    """`size` bytes to three figures, in binary units: "3.38 GiB". The pages' format.js writes the same."""
    names = ["B", *BINARY_UNITS]
    value, unit = Decimal(size), 0
    # Not 1024 MiB: what rounds up to it is one of the next unit.
    while value >= Decimal("1023.5") and unit < len(names) - 1:
        value, unit = value / 1024, unit + 1
    places = Decimal("0.01") if value < 10 else Decimal("0.1") if value < 100 else Decimal(1)
    return f"{_number(value.quantize(places, ROUND_HALF_UP))} {names[unit]}"


def _number(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
