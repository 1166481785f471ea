"""Names inside a ZIP: such as every common system can unpack, and no two alike. Needs no Django.

Names as they are stored may be anything (`uploads/names.py`). Windows refuses some characters, the names of its
devices, and dots and spaces at the end; many systems take `A` and `a` for one; most have room for 255 bytes in each
part.
"""

import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence

PART_BYTES = 255  # of UTF-8; that is at most 255 of the units that Windows counts
FOLDERS_BYTES = 600  # with a name behind them, less than the 1,024 bytes that macOS has for all
EXTENSION_BYTES = 20  # what is longer is none, and may be cut

_REFUSED = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*]')
# "evil\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe" would look like a picture. Joiners stay: Hindi and emoji need them.
_TURNS_ROUND = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_DROPPED_END = re.compile(r"[. ]+$")
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
_EXTENSION = re.compile(r"(?<=[^.])\.[^. ]+$")


def safe_part(name: str, most: int = PART_BYTES) -> str:
    """`name` as one part of a path that every common system can make, in NFC, of about `most` bytes at most."""
    name = unicodedata.normalize("NFC", name)
    name = _no_device(_TURNS_ROUND.sub("_", _REFUSED.sub("_", name)) or "_")
    if _bytes_of(name) <= most:
        return name
    stem, extension = split_extension(name)
    return _no_device(_cut(stem, most - _bytes_of(extension)) + extension)


def unique_names(files: Sequence[tuple[str, str]], taken: Collection[str] = ()) -> list[str]:
    """For each `(folders, name)` its path in the ZIP, in the same order: none is like another, or like one `taken`.

    Who is alone with a name keeps it; of several, the first does, and before the others' extensions stands ` (2)`.
    """
    folders = {path: _safe_folders(path, taken) for path in {path for path, _name in files}}
    used = {_alike(name) for name in taken}
    used |= {_alike(above) for folder in folders.values() for above in _with_all_above(folder)}
    names: list[str] = []
    clashing: list[int] = []
    for at, (path, name) in enumerate(files):
        names.append(folders[path] + safe_part(name))
        if _alike(names[at]) in used:
            clashing.append(at)
        used.add(_alike(names[at]))
    tried: dict[str, int] = {}
    for at in clashing:
        like = _alike(names[at])
        for number in itertools.count(tried.get(like, 1) + 1):
            other = _numbered(names[at], number)
            if _alike(other) not in used:
                break
        tried[like] = number
        names[at] = other
        used.add(_alike(other))
    return names


def _safe_folders(path: str, taken: Collection[str]) -> str:
    """With `/` at its end, or empty. Folders that are alike become one: files in them are not."""
    if not path:
        return ""
    parts = [safe_part(part) for part in path.split("/")]
    if _bytes_of(path) > FOLDERS_BYTES:
        parts = [safe_part(part, FOLDERS_BYTES // len(parts)) for part in parts]
    if _alike(parts[0]) in map(_alike, taken):
        parts[0] = _numbered(parts[0], 2)
    return "/".join(parts) + "/"


def _with_all_above(folder: str) -> Iterator[str]:
    return itertools.accumulate(folder.split("/")[:-1], lambda above, part: f"{above}/{part}")


def _alike(path: str) -> str:
    """The same for all that some system takes for one: it may know no cases, or write accents otherwise."""
    return unicodedata.normalize("NFD", path.upper().casefold())


def _numbered(path: str, number: int) -> str:
    folder, slash, name = path.rpartition("/")
    stem, extension = split_extension(name)
    end = f" ({number}){extension}"
    return folder + slash + _cut(stem, PART_BYTES - _bytes_of(end)) + end


def split_extension(name: str) -> tuple[str, str]:
    """Stem and extension, which begins with its dot."""
    extension = _EXTENSION.search(name)
    if extension is None or _bytes_of(extension[0]) > EXTENSION_BYTES:
        return name, ""
    return name[: extension.start()], extension[0]


def _no_device(name: str) -> str:
    name = _DROPPED_END.sub(lambda end: "_" * len(end[0]), name)
    return f"_{name}" if _DEVICE.fullmatch(name) else name


def _bytes_of(text: str) -> int:
    return len(text.encode())


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")
