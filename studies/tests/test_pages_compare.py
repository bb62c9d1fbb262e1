"""What the comparison page shows of a study's protocol, as a browser gets it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from inference.models import Trace
from studies.criteria import CRITERIA
from studies.models import CheckItem, Study
from studies.tests import pages
from studies.views.rater.comparing import page_version

MakeStudy = Callable[..., Study]


def html_of(study: Study) -> str:
    return str(pages.compare(pages.consent(study), study).content.decode())


@pytest.mark.parametrize(
    ("levels", "scale"),
    [
        (3, ["a", "tie", "b"]),
        (5, ["a2", "a1", "tie", "b1", "b2"]),
        (7, ["a3", "a2", "a1", "tie", "b1", "b2", "b3"]),
    ],
)
def test_the_scale_goes_from_a_to_b_with_digits_as_keys(make_study: MakeStudy, levels: int, scale: list[str]) -> None:
    buttons = re.findall(r'<button name="choice" value="(\w+)" data-key="(\w)"', html_of(make_study(levels=levels)))
    digits = [(value, str(place)) for place, value in enumerate(scale, start=1)]
    assert buttons == [*digits, ("both_bad", "x"), ("cannot_judge", "c")]


def test_criteria_stand_there_with_their_definitions_in_the_protocols_order(make_study: MakeStudy) -> None:
    html = html_of(make_study(criteria=["trust", "clarity"]))
    assert re.findall(r'<fieldset class="ask" id="criterion_(\w+)"', html) == ["trust", "clarity"]
    assert all(str(words) in html for key in ("trust", "clarity") for words in CRITERIA[key])
    assert "criterion_contrast" not in html


@pytest.mark.parametrize("noted", [True, False])
def test_pasting_is_noted_only_where_the_study_says_so(make_study: MakeStudy, noted: bool) -> None:
    assert (" data-pastes" in html_of(make_study(pastes_noted=noted))) == noted


@pytest.mark.parametrize(
    ("forced_from", "shown", "hidden"),
    [(None, "Answer: the 8th", "never"), (2, "They sing.", "Answer:"), (3, "Answer:", "the 8th")],
)
def test_an_answer_that_was_put_behind_the_chain_is_not_shown_as_the_models(
    make_study: MakeStudy, forced_from: int | None, shown: str, hidden: str
) -> None:
    """Where the model wrote "Answer:" itself, that is shown, and the option behind it is not."""
    study = make_study(problems=1, arms=("inverse", "self_explain"))
    texts = ("Birds fly.\n", "They sing.\n", "Answer:", " the 8th")
    steps = [
        {"index": at, "text": text, "char_start": start, "token_start": at}
        for at, (text, start) in enumerate([("Birds fly.", 0), ("They sing.", 11), ("Answer: the 8th", 22)])
    ]
    tokens = [{"text": text} for text in texts]
    Trace.objects.update(record={"steps": steps, "tokens": tokens, "forced_from": forced_from})
    html = html_of(study)
    assert shown in html
    assert hidden not in html


def test_a_break_is_suggested_when_it_is_due(make_study: MakeStudy) -> None:
    study = make_study(break_after=2)
    client = pages.consent(study)
    said = []
    for _ in range(4):
        page = pages.compare(client, study)
        said.append("A short break does good" in page.content.decode())
        pages.answer(client, page, "tie")
    assert said == [False, False, True, False]


def test_how_long_it_takes_is_said_once_a_pace_is_known(make_study: MakeStudy) -> None:
    study = make_study()
    client = pages.consent(study)
    page = pages.compare(client, study)
    assert "minute" not in page.content.decode()
    for _ in range(2):
        page = pages.answer(client, page, "tie", seconds="50", active_seconds="50")
    assert "minutes left" in page.content.decode() or "minute left" in page.content.decode()


def test_a_gold_comparison_looks_like_any_other(make_study: MakeStudy) -> None:
    study = make_study(problems=3)
    CheckItem.objects.create(
        study=study, purpose=CheckItem.Purpose.GOLD, question="What is 3 + 4?", answer="7", better="x", worse="y"
    )
    client = pages.consent(study)
    page, titles = pages.compare(client, study), []
    while b'id="answer"' in page.content:
        html = page.content.decode()
        assert not re.search("practice|gold|check", re.sub(r"\bcheck(ed|box)\b", "", html), re.IGNORECASE)
        titles.append(re.findall(r"<title>(.*?) ·", html)[0])
        page = pages.answer(client, page, "tie")
    assert titles == [f"Comparison {number} of 4" for number in (1, 2, 3, 4)]


def test_every_answer_is_stored_with_the_version_of_the_page(study: Study) -> None:
    assert f'name="page_version" value="{page_version()}"' in html_of(study)
    assert re.fullmatch("[0-9a-f]{12}", page_version())


def test_a_refused_answer_still_leads_out_of_the_study(study: Study) -> None:
    client = pages.consent(study)
    page = pages.compare(client, study)
    pages.answer(client, page, "a1")
    address, hidden = pages.form_of(page)
    stale = client.post(address, hidden | {"choice": "b1", "client_key": ""})
    assert stale.status_code == 409
    assert pages.address(study, "withdraw") in stale.content.decode()
