"""The translations, by Babel: `make messages` brings the catalogues up to date, `make check` says what they lack.

`locale/hi` has our own messages; `locale/overrides/hi` those of Django's admin that Django has no Hindi for, and those
of django-axes, which has none at all. Texts are written into the .po files by people; this tool only finds the
messages, drops those that are gone, and compiles.
"""

import gettext
import io
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import axes
import django
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
LOCALE = "hi"
APPS = ("directdrivex", "uploads", "quotas", "monitoring")
KEYWORDS = DEFAULT_KEYWORDS | {
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
# Without the second, Babel would look past the calls inside of a script's template literals.
OPTIONS = {"encoding": "utf-8", "parse_template_string": True}
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[sdif]|\{\w*\}")
OVERRIDDEN = ("contrib/admin", "contrib/auth")  # the parts of Django that people see here
ODD_WORDS = re.compile("शब्दकूट|कूटशब्द")  # Django has both for a password, and the one that everybody uses besides
HEADER = "# Translations of DirectDriveX. Messages are gathered by `make messages`."

Found = tuple[str, int, str | tuple[str, ...], list[str], str | None]


def _empty() -> Catalog:
    return Catalog(locale=LOCALE, project="DirectDriveX", version="1", header_comment=HEADER, fuzzy=False)


def sources(*patterns: str) -> Iterator[Path]:
    """Our files that people may read texts from: no tests, no migrations, nothing vendored."""
    for top in (*APPS, "templates"):
        for pattern in patterns:
            for path in sorted((ROOT / top).rglob(pattern)):
                if not {"tests", "migrations", "vendor"} & set(path.relative_to(ROOT).parts):
                    yield path


def _from_text(path: Path, text: str, method: str) -> Iterator[Found]:
    name = path.relative_to(ROOT).as_posix()
    for line, message, comments, context in extract(
        method, io.BytesIO(text.encode()), KEYWORDS, ("Translators:",), OPTIONS
    ):
        yield name, line, message, comments, context


def messages_of_python() -> Iterator[Found]:
    for path in sources("*.py"):
        yield from _from_text(path, path.read_text(), "python")


def messages_of_templates() -> Iterator[Found]:
    for path in sources("*.html", "*.txt"):
        # Django turns a template into lines that read like Python; what is left of indentation would confuse Babel.
        lines = templatize(path.read_text(), origin=str(path)).splitlines()
        yield from _from_text(path, "\n".join(line.lstrip() for line in lines), "python")


def messages_of_scripts() -> Iterator[Found]:
    for path in sources("*.js"):
        yield from _from_text(path, path.read_text(), "javascript")


def gathered(found: Iterable[Found]) -> Catalog:
    catalog = _empty()
    for name, _line, message, comments, context in found:
        catalog.add(message, locations=[(name, 0)], auto_comments=comments, context=context)
    return catalog


def messages_of_axes() -> Iterator[Found]:
    folder = Path(axes.__file__).parent
    for path in sorted(folder.glob("*.py")):
        for _line, message, comments, context in extract("python", io.BytesIO(path.read_bytes()), KEYWORDS):
            yield "axes", 0, message, comments, context


def _is_odd(message: Message) -> bool:
    """Whether it calls a password by one of the words that pages for people do not use."""
    return any(ODD_WORDS.search(form) for form in _forms(message.string))


def without_others_hindi() -> Catalog:
    """The messages of Django's admin and accounts, and of django-axes, that they have not in Hindi themselves, or in
    words that would confuse beside ours.
    """
    catalog = gathered(messages_of_axes())
    for part in OVERRIDDEN:
        folder = Path(django.__file__).parent / part / "locale"
        known = _read(folder / LOCALE / "LC_MESSAGES" / "django.po")
        for message in _read(folder / "en" / "LC_MESSAGES" / "django.po"):
            theirs = known.get(message.id, message.context) if message.id else None
            if message.id and (theirs is None or theirs.fuzzy or not _is_translated(theirs) or _is_odd(theirs)):
                catalog.add(message.id, context=message.context, locations=[(f"django/{part}", 0)])
    return catalog


CATALOGUES = {
    f"locale/{LOCALE}/LC_MESSAGES/django.po": lambda: gathered([*messages_of_python(), *messages_of_templates()]),
    f"locale/{LOCALE}/LC_MESSAGES/djangojs.po": lambda: gathered(messages_of_scripts()),
    f"locale/overrides/{LOCALE}/LC_MESSAGES/django.po": without_others_hindi,
}


def _read(path: Path) -> Catalog:
    if not path.is_file():
        return _empty()
    with path.open("rb") as file:
        return read_po(file, locale=LOCALE)


def _forms(text: object) -> tuple[str, ...]:
    return tuple(text) if isinstance(text, list | tuple) else (str(text or ""),)


def _is_translated(message: Message) -> bool:
    return all(_forms(message.string)) and (not message.pluralizable or len(_forms(message.string)) > 1)


def placeholder_problem(message: Message) -> str:
    """What is wrong with the placeholders of a translation; empty when they agree.

    A plural form may leave one out ("one file"), but may not invent one.
    """
    wanted = {name for form in _forms(message.id) for name in PLACEHOLDER.findall(form)}
    for form in _forms(message.string):
        has = set(PLACEHOLDER.findall(form))
        if has != wanted and not (message.pluralizable and has <= wanted):
            return f"{form!r} has the placeholders {sorted(has)}, its message {sorted(wanted)}"
    return ""


def compiled(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def _texts(mo: bytes) -> dict[object, str]:
    """The messages of a compiled catalogue; its header names Babel's version, which is nothing to compare."""
    texts = dict(gettext.GNUTranslations(io.BytesIO(mo))._catalog)  # type: ignore[attr-defined]
    return {key: text for key, text in texts.items() if key}


def problems_of(name: str, wanted: Catalog) -> list[str]:
    path = ROOT / name
    has, found = _read(path), []
    missing = [message.id for message in wanted if message.id and has.get(message.id, message.context) is None]
    gone = [message.id for message in has if message.id and wanted.get(message.id, message.context) is None]
    untranslated = [message.id for message in has if message.id and (message.fuzzy or not _is_translated(message))]
    for what, ids in (("missing", missing), ("no longer used", gone), ("without a translation", untranslated)):
        if ids:
            found.append(f"{name}: {len(ids)} messages {what}, such as {_forms(ids[0])[0]!r}")
    for message in has:
        if message.id and _is_translated(message) and (problem := placeholder_problem(message)):
            found.append(f"{name}: {problem}")
    mo = path.with_suffix(".mo")
    if not mo.is_file() or _texts(mo.read_bytes()) != _texts(compiled(has)):
        found.append(f"{name}: the compiled {mo.name} is stale")
    return found


def problems() -> list[str]:
    """What the catalogues lack, one sentence each; empty when all is translated and compiled."""
    found = [problem for name, gather in CATALOGUES.items() for problem in problems_of(name, gather())]
    return [*found, "`make messages` gathers and compiles; the Hindi is for a person to write."] if found else []


def update(name: str, wanted: Catalog) -> None:
    """Bring one catalogue up to date and compile it; translations of messages that stay are kept."""
    path = ROOT / name
    catalog = _read(path)
    catalog.update(wanted, no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    for message in catalog:
        message.locations = [(place, 0) for place in sorted({place for place, _ in message.locations})]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalog, width=120, sort_output=True, include_lineno=False, ignore_obsolete=True)
    path.with_suffix(".mo").write_bytes(compiled(catalog))
    left = sum(1 for message in catalog if message.id and not _is_translated(message))
    print(f"{name}: {len(catalog)} messages, {left} without a translation")


def main() -> int:
    for name, gather in CATALOGUES.items():
        update(name, gather())
    return 0


if __name__ == "__main__":
    sys.exit(main())
