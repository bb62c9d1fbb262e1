"""What lies before a rater: links to steps, positions in the text, decision points, and what is kept back."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.models import Assignment, Study
from studies.tests import pages
from studies.views.rater import sheet

MakeStudy = Callable[..., Study]

EVIDENCE = {
    "tests": [
        {
            "step": 1,
            "rollouts": 6,
            "confirmed": True,
            "alternatives": [
                {"example": "Step 2: Count <b>down</b>.", "count": 4, "answers": {"65 min": 3, "": 1}},
                {"example": " ", "count": 1, "answers": {"85 min": 1}},
            ],
        },
        {"step": 0, "rollouts": 6, "confirmed": False, "alternatives": []},
    ]
}


def links(text: str, steps: int = 9) -> list[str]:
    return [
        piece.split("</a>")[0] for piece in str(sheet.with_links(text, steps)).split('<a class="to-step" href="')[1:]
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("At step 2 it wrote", ['#step-2">step 2']),
        ("Steps 2, 3 and 4 were not tested.", ['#step-2">Steps 2', '#step-3">3', '#step-4">4']),
        ("In Schritt 3 und 5", ['#step-3">Schritt 3', '#step-5">5']),
        ("step 12 is none of them, step 0 neither", []),
        ("step 20 of 40, and footsteps 3", []),
        ("step 3.5", ['#step-3">step 3']),
    ],
)
def test_mentions_of_steps_become_links_to_those_that_are_there(text: str, expected: list[str]) -> None:
    assert links(text) == expected


def test_without_a_trace_on_the_page_nothing_is_linked() -> None:
    assert links("At step 2", steps=0) == []


def test_links_leave_everything_else_text() -> None:
    html = str(sheet.with_links('<script>step 2</script> & "step 3"', 3))
    assert "<script" not in html
    assert html.count("<a ") == 2
    assert html.startswith('&lt;script&gt;<a class="to-step" href="#step-2">step 2</a>&lt;/script&gt; &amp;')


class Text(HTMLParser):
    """What a browser has as the text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.feed(html)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(alphabet="ab <>&\"'\n\r\U0001d465step 123,and", max_size=80))
def test_each_paragraph_says_where_it_begins_and_keeps_every_character(text: str) -> None:
    for paragraph in sheet.paragraphs(text, 3):
        shown = Text(str(paragraph.html)).text
        assert text[paragraph.start : paragraph.start + len(shown)] == shown


@given(st.text(alphabet="ab \n", max_size=60), st.text(alphabet="ab \n", max_size=60))
def test_the_difference_shows_both_texts_whole_and_agrees_on_what_is_in_both(left: str, right: str) -> None:
    mine, theirs = sheet.difference(left, right)
    assert "".join(run.text for run in mine) == left
    assert "".join(run.text for run in theirs) == right
    common = [[word for run in runs if not run.only for word in run.text.split()] for runs in (mine, theirs)]
    assert common[0] == common[1]


def test_a_changed_word_is_all_that_differs() -> None:
    mine, theirs = sheet.difference("It took the train home", "It took the bus home")
    assert [run.text for run in mine if run.only] == ["train"]
    assert [run.text for run in theirs if run.only] == ["bus"]


@pytest.fixture
def tested(make_study: MakeStudy) -> Study:
    """A study whose first explanations carry a confirmed decision point."""
    study = make_study(arms=("inverse", "self_explain"))
    for comparison in study.comparisons.all():
        comparison.first.evidence = EVIDENCE
        comparison.first.save()
    return study


def current(study: Study) -> Assignment:
    pages.compare(pages.consent(study), study)
    return Assignment.objects.with_texts().get()


def test_decision_points_are_marked_with_what_could_have_been(tested: Study) -> None:
    first, second, third = sheet.sheet_of(current(tested), tested).steps
    assert (first.decisive, second.decisive, third.decisive) == (False, True, False)
    (other,) = second.alternatives
    assert (other.text, other.count, other.tries, other.answers) == ("Count <b>down</b>.", 4, 6, "“65 min” (3 ×)")


def test_the_marks_tell_nothing_of_the_side_that_they_come_from(tested: Study) -> None:
    row = current(tested)
    shown = sheet.sheet_of(row, tested)
    row.first_on_left = not row.first_on_left
    swapped = sheet.sheet_of(row, tested)
    assert swapped.steps == shown.steps
    assert [side.text for side in swapped.sides] == [side.text for side in reversed(shown.sides)]


def test_the_page_shows_decision_points_as_text(tested: Study) -> None:
    html = pages.compare(pages.consent(tested), tested).content.decode()
    assert html.count("decision point") == 1
    assert "Instead it could have written:" in html
    assert "Count &lt;b&gt;down&lt;/b&gt;." in html
    assert "4 of 6 new tries" in html


def test_what_is_to_be_predicted_does_not_stand_there(tested: Study) -> None:
    row = current(tested)
    tested.simulation = Study.Simulation.FORWARD
    forward = sheet.sheet_of(row, tested)
    assert (forward.answer, forward.steps, forward.chain, forward.answered_with_option) == ("", [], "", False)
    tested.simulation = Study.Simulation.COUNTERFACTUAL
    asked = sheet.sheet_of(row, tested)
    assert [other.answers for step in asked.steps for other in step.alternatives] == [""]


def test_the_protocol_hides_the_answer(make_study: MakeStudy) -> None:
    hidden = make_study(answer_shown=False)
    html = pages.compare(pages.consent(hidden), hidden).content.decode()
    assert "the model’s answer" not in html
    assert 'class="answered"' not in html
