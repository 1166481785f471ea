"""The tool that gathers and judges translations."""

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message

from devtools import messages


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(messages, "ROOT", tmp_path)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ids(found: object) -> set[object]:
    return {message.id for message in messages.gathered(found) if message.id}  # type: ignore[arg-type]


def test_messages_are_found_in_python_templates_and_scripts(project: Path) -> None:
    write(project / "uploads/words.py", 'a = _("plain")\nb = ngettext_lazy("%d file", "%d files", n)\n')
    write(
        project / "templates/page.html",
        """{% load i18n %}
          <p>{% translate "short" %}</p>
        {% blocktranslate count n=files %}
            one {{ name }}{% plural %}{{ n }} {{ name }}{% endblocktranslate %}
              {% blocktranslate trimmed %}
                two
              lines
            {% endblocktranslate %}""",
    )
    write(
        project / "uploads/static/uploads/js/a.js",
        'const x = cond ? gettext("in a script") : ngettext("a", "b", 2);\n'
        'say(`${name}: ${told || gettext("in a literal")} (${fill(gettext("twice %(n)s"), { n: 2 })})`);\n',
    )
    assert ids(messages.messages_of_python()) == {"plain", ("%d file", "%d files")}
    found = ids(messages.messages_of_templates())
    assert {"short", "two lines"} <= found
    assert ("\n            one %(name)s", "%(n)s %(name)s") in found
    assert ids(messages.messages_of_scripts()) == {"in a script", ("a", "b"), "in a literal", "twice %(n)s"}


def test_tests_and_vendored_scripts_are_not_for_translation(project: Path) -> None:
    write(project / "uploads/tests/test_a.py", '_("in a test")')
    write(project / "uploads/static/uploads/vendor/b.js", 'gettext("not ours")')
    assert not ids([*messages.messages_of_python(), *messages.messages_of_scripts()])


@pytest.mark.parametrize(
    ("message", "translation", "agrees"),
    [
        ("%(n)s of %(size)s", "%(size)s में से %(n)s", True),
        ("%(n)s of %(size)s", "%(size)s", False),
        ("{a} and %s", "%s और {a}", True),
        ("{a}", "{b}", False),
        (("one file", "%d files"), ("एक फ़ाइल", "%d फ़ाइलें"), True),
        (("%(n)s file", "%(n)s files"), ("एक फ़ाइल", "%(n)s फ़ाइलें"), True),
        (("one file", "%(n)s files"), ("एक फ़ाइल", "%(m)s फ़ाइलें"), False),
        ("100 % of it", "इसका 100 %", True),
    ],
)
def test_placeholders_must_agree(message: object, translation: object, agrees: bool) -> None:
    problem = messages.placeholder_problem(Message(message, translation))  # type: ignore[arg-type]
    assert (problem == "") is agrees


def catalogue(**texts: str) -> Catalog:
    catalog = Catalog(locale="hi")
    for text, translation in texts.items():
        catalog.add(text, translation)
    return catalog


def test_an_update_keeps_translations_drops_what_is_gone_and_compiles(project: Path) -> None:
    name = "locale/hi/LC_MESSAGES/django.po"
    messages.update(name, catalogue(stays="", goes=""))
    text = (project / name).read_text()
    (project / name).write_text(text.replace('msgid "stays"\nmsgstr ""', 'msgid "stays"\nmsgstr "रहता है"'))
    assert any("stale" in problem for problem in messages.problems_of(name, catalogue(stays="")))
    messages.update(name, catalogue(stays="", comes=""))
    problems = messages.problems_of(name, catalogue(stays="", comes=""))
    assert problems == [f"{name}: 1 messages without a translation, such as 'comes'"]
    assert "goes" not in (project / name).read_text()


def test_a_complete_catalogue_has_no_problems_and_an_update_changes_nothing(project: Path) -> None:
    name = "locale/hi/LC_MESSAGES/django.po"
    messages.update(name, catalogue(yes="हाँ"))
    text = (project / name).read_text().replace('msgid "yes"\nmsgstr ""', 'msgid "yes"\nmsgstr "हाँ"')
    (project / name).write_text(text)
    messages.update(name, catalogue(yes=""))
    before = (project / name).read_text()
    messages.update(name, catalogue(yes=""))
    assert (project / name).read_text() == before
    assert messages.problems_of(name, catalogue(yes="")) == []
