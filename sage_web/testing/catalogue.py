"""The pages' translations: `python -m sage_web.testing.catalogue` brings locale/ up to date with the sources.

Strings are read from the templates by Django's own parser and from the code by Babel, so no gettext tools are needed.
New strings come in empty, to be translated by hand; a test fails until they are. The compiled file is kept in the
repository, so that a server needs nothing but Django.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.template import Engine
from django.template.base import Node
from django.templatetags.i18n import BlockTranslateNode, TranslateNode

LANGUAGES = ("de",)
LAZY = {f"{name}_lazy": spec for name, spec in DEFAULT_KEYWORDS.items() if name.endswith("gettext")}
Message = str | tuple[str, ...]


def path(language: str, suffix: str) -> Path:
    return Path(settings.BASE_DIR, "locale", language, "LC_MESSAGES", f"django.{suffix}")


def read(language: str) -> Catalog:
    with path(language, "po").open("rb") as file:
        return read_po(file, locale=language)


def sources() -> Catalog:
    """What the templates and the code ask to be translated, with the files that ask it."""
    found = Catalog()
    for name, message in sorted([*in_templates(), *in_code()], key=str):
        found.add(message, locations=[(name, 0)])
    return found


def in_templates() -> Iterator[tuple[str, Message]]:
    folder = Path(settings.BASE_DIR, "templates")
    for file in folder.rglob("*.html"):
        template = Engine.get_default().get_template(str(file.relative_to(folder)))
        for node in template.nodelist.get_nodes_by_type(Node):
            if isinstance(node, TranslateNode):
                yield str(file.relative_to(settings.BASE_DIR)), str(node.filter_expression.var.literal)
            elif isinstance(node, BlockTranslateNode):
                yield str(file.relative_to(settings.BASE_DIR)), block(node)


def block(node: BlockTranslateNode) -> Message:
    singular, _ = node.render_token_list(node.singular)
    if not node.plural:
        return str(singular)
    plural, _ = node.render_token_list(node.plural)
    return str(singular), str(plural)


def in_code() -> Iterator[tuple[str, Message]]:
    keywords = {**DEFAULT_KEYWORDS, **LAZY}
    for file in Path(settings.BASE_DIR, "studies").rglob("*.py"):
        if "tests" not in file.parts:
            for _line, message, _comments, _context in extract_from_file("python", file, keywords=keywords):
                yield str(file.relative_to(settings.BASE_DIR)), message


def update(language: str) -> Catalog:
    """Bring the catalogue and its compiled file up to date; return it."""
    known = read(language)
    known.update(sources(), no_fuzzy_matching=True, update_creation_date=False)
    known.obsolete.clear()
    with path(language, "po").open("wb") as file:
        write_po(file, known, width=118, sort_output=True, include_lineno=False, ignore_obsolete=True)
    with path(language, "mo").open("wb") as file:
        write_mo(file, known)
    return known


def main() -> None:
    import django

    django.setup()
    for language in LANGUAGES:
        messages = [message for message in update(language) if message.id]
        empty = [message.id for message in messages if not all(strings(message.string))]
        print(f"{language}: {len(messages)} strings, {len(empty)} to be translated")  # noqa: T201


def strings(given: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or [""])


if __name__ == "__main__":
    main()
