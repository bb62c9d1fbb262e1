"""The rater's pages in another language: everything is in the catalogue, translated, compiled and used."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from gettext import GNUTranslations
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from django.conf import settings
from django.test import Client
from django.urls import reverse

from sage_web.testing import catalogue
from studies.models import CheckItem, Study
from studies.tests import pages

MakeStudy = Callable[..., Study]
TEMPLATES = [*Path("templates/rater").rglob("*.html"), Path("templates/partials/preparing.html")]
SPOKEN = ("aria-label", "title", "placeholder", "alt")


@pytest.fixture(params=catalogue.LANGUAGES)
def catalog(request: pytest.FixtureRequest) -> Catalog:
    return catalogue.read(request.param)


def messages(catalog: Catalog) -> dict[tuple[str, ...], list[str]]:
    """Singular and plural of each string, and its translations."""
    return {tuple(catalogue.strings(row.id)): catalogue.strings(row.string) for row in catalog if row.id}


def test_the_catalogue_holds_what_the_sources_ask_and_nothing_else(catalog: Catalog) -> None:
    assert messages(catalog).keys() == messages(catalogue.sources()).keys(), "python -m sage_web.testing.catalogue"


def test_nothing_is_left_untranslated(catalog: Catalog) -> None:
    assert not [row.id for row in catalog if row.id and not all(catalogue.strings(row.string))]
    assert not [row.id for row in catalog if row.fuzzy and row.id]


def test_translations_keep_placeholders_and_markup(catalog: Catalog) -> None:
    kept = re.compile(r"%\(\w+\)[sd]|</?\w+>")
    for asked, given in messages(catalog).items():
        for original, translated in zip(asked, given, strict=True):
            assert sorted(kept.findall(original)) == sorted(kept.findall(translated)), original


def test_the_compiled_file_is_that_of_the_catalogue(catalog: Catalog) -> None:
    assert catalog.locale
    with catalogue.path(str(catalog.locale), "mo").open("rb") as file:
        compiled = GNUTranslations(file)
    for asked, given in messages(catalog).items():
        found = [compiled.gettext(asked[0])] if len(asked) == 1 else [compiled.ngettext(*asked, n) for n in (1, 2)]
        assert found == given


@pytest.mark.parametrize("template", TEMPLATES, ids=str)
def test_no_words_stand_in_a_template_outside_the_catalogue(template: Path) -> None:
    source = Path(settings.BASE_DIR, template).read_text()
    source = re.sub(r"\{% blocktranslate.*?\{% endblocktranslate %\}", "", source, flags=re.DOTALL)
    source = source.replace("{% block body_class %}wide{% endblock %}", "")  # the name of a layout
    source = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL)
    spoken = re.findall(rf'(?:{"|".join(SPOKEN)})="([^"]*)"', source)
    text = re.sub(r"<[^>]*>", " ", source)
    left = [word for part in [text, *spoken] for word in re.findall(r"[^\W\d_]{2,}", html.unescape(part))]
    assert not left


def visible(page: str) -> str:
    """The text of a page, without markup and scripts, with the texts of its attributes."""
    page = re.sub(r"<(style|script).*?</\1>", " ", page, flags=re.DOTALL)
    words = re.findall(rf'(?:{"|".join(SPOKEN)}|data-[\w-]+)="([^"]*)"', page)
    return html.unescape(" ".join([re.sub(r"<[^>]*>", " ", page), *words]))


def english_left(page: str, catalog: Catalog) -> list[str]:
    text = " ".join(visible(page).split())
    left = []
    for asked, given in messages(catalog).items():
        for original in asked:
            plain = re.sub(r"<[^>]*>", "", original).strip(" .,:;")
            pattern = r"[\dAB]+".join(map(re.escape, re.split(r"%\(\w+\)[sd]", plain)))
            same = any(original == other for other in given)
            if len(pattern) > 3 and not same and re.search(rf"(?<!\w){pattern}(?!\w)", text):
                left.append(original)
    return left


def german(make_study: MakeStudy, **fields: object) -> Study:
    """A study whose own texts are German as well, so that every English word on its pages is ours."""
    study = make_study(
        language="de",
        title="Wie ein kleines Modell denkt",
        question="Welche Erklärung hilft Ihnen mehr?",
        consent_text="Sie lesen kurze Erklärungen.",
        instructions="Lesen Sie beide.",
        criteria=["clarity", "completeness", "usefulness", "support", "contrast", "trust"],
        levels=7,
        **fields,
    )
    study.explanations().filter(made_at__isnull=False).update(text="Schritt 2 gab den Ausschlag.")
    return study


def test_every_page_is_german(make_study: MakeStudy, catalog: Catalog) -> None:
    study = german(make_study, problems=3, arms=("inverse", "self_explain"))
    CheckItem.objects.create(
        study=study, purpose="practice", question="?", answer="!", better="x", worse="y", feedback="z"
    )
    client = Client()
    seen = {"consent": client.get(pages.address(study, "consent"))}
    client.post(pages.address(study, "consent"))
    seen["instructions"] = client.get(pages.address(study, "instructions"))
    client.post(pages.address(study, "instructions"))
    seen["practice"] = pages.compare(client, study)
    asked = {f"criterion_{key}": "a" for key in study.criteria}
    seen["feedback"] = pages.answer(client, seen["practice"], "a3", **asked)
    seen["compare"] = pages.compare(client, study)
    address, hidden = pages.form_of(seen["compare"])
    seen["not valid"] = client.post(address, hidden | {"choice": "a9", "reason": "x" * 2001})
    pages.answer(client, seen["compare"], "b1", **asked)
    seen["stale"] = client.post(address, hidden | asked | {"choice": "tie", "client_key": ""})
    seen["review"] = client.get(pages.address(study, "review"))
    revise = re.search(r'href="([^"]+/review/[^"]+/)"', seen["review"].content.decode())
    assert revise
    seen["revise"] = client.get(revise[1])
    for name in ("leave", "withdraw", "receipt"):
        seen[name] = client.get(pages.address(study, name))
    for _ in range(2):
        pages.answer(client, pages.compare(client, study), "tie", **asked)
    seen["end"] = client.get(pages.address(study, "end"))
    seen["withdrawn"] = client.post(pages.address(study, "withdraw"), follow=True)
    for name, page in seen.items():
        text = page.content.decode()
        assert '<html lang="de">' in text, name
        assert not english_left(text, catalog), name


def test_the_pages_of_waiting_and_predicting_are_german(make_study: MakeStudy, catalog: Catalog) -> None:
    waiting = german(make_study, ready=False, slug="waiting")
    predicting = german(make_study, slug="predicting", simulation="forward")
    for study in (waiting, predicting):
        page = pages.compare(pages.consent(study), study).content.decode()
        assert not english_left(page, catalog)
    refused = Client().post(reverse("studies:refuse", args=[waiting.token]))
    assert "Sie haben nicht zugestimmt" in refused.content.decode()
    assert not english_left(refused.content.decode(), catalog)


def test_a_leftover_would_be_found(catalog: Catalog) -> None:
    assert english_left("<p>Take back my last answer</p>", catalog) == ["Take back my last answer"]
    assert english_left("<p>You gave <strong>3</strong> answers. Every one is saved.</p>", catalog)
