"""Links that were made for a study, and what panels send: nothing else comes in, and everybody finds the way back."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError
from django.http import Http404, QueryDict
from django.test import Client

from studies import access, assignment, launch, panels
from studies.flow import Status
from studies.models import CheckItem, Invite, Rater, Study
from studies.tests import pages

MakeStudy = Callable[..., Study]
PID = "5f2a1b3c4d5e6f7a8b9c0d1e"


@pytest.fixture
def prolific(make_study: MakeStudy) -> Study:
    return make_study(
        panel="prolific",
        code_complete="DONE1",
        code_screened_out="FULL1",
        code_refused="NO1",
        code_failed_checks="F1",
    )


def come(study: Study, query: str, client: Client | None = None) -> Client:
    """Agree by the link that a panel adds `query` to."""
    client = client or Client()
    response = client.post(pages.address(study, "consent") + query)
    assert response.status_code == 302, response.content.decode()
    return client


# -- Signed links -------------------------------------------------------------------------------------------------


def test_a_signed_link_names_its_owner_and_nobody_elses_study(make_study: MakeStudy) -> None:
    here, there = make_study(), make_study(slug="there")
    invite, rater = Invite.objects.create(study=here), assignment.enrol(here)
    assert access.invited(here, access.signed_for(here, invite)) == (invite, None)
    assert access.invited(here, access.signed_for(here, rater)) == (None, rater)
    with pytest.raises(Http404):
        access.invited(there, access.signed_for(here, rater))


def test_a_signed_link_that_was_changed_is_none(study: Study) -> None:
    first, second = (Invite.objects.create(study=study) for _ in range(2))
    name, signature = access.signed_for(study, first).split(".")
    with pytest.raises(Http404):
        access.invited(study, f"i{second.pk}.{signature}")
    with pytest.raises(Http404):
        access.invited(study, f"{name}.{signature[:-1]}")


def test_a_cookie_of_another_study_makes_nobody(make_study: MakeStudy) -> None:
    here, there = make_study(), make_study(slug="there")
    client = pages.consent(here)
    client.cookies[access.cookie_name(there.token)] = client.cookies[access.cookie_name(here.token)].value
    assert client.get(pages.address(there, "compare")).headers["Location"] == pages.address(there, "consent")


# -- Participants of a panel --------------------------------------------------------------------------------------


def test_a_participant_is_kept_and_is_one_rater_in_every_browser(prolific: Study) -> None:
    query = f"?PROLIFIC_PID={PID}&STUDY_ID=s1&SESSION_ID=t1"
    first = come(prolific, query)
    rater = pages.rater_of(first, prolific)
    assert (rater.participant, rater.panel_session) == (PID, "t1")
    page = Client().get(pages.address(prolific, "consent") + query)
    assert "You have started already" in page.content.decode()
    second = come(prolific, query)
    assert pages.rater_of(second, prolific) == rater
    assert first.get(pages.address(prolific, "consent")).status_code == 302, (
        "without the panel's words it goes on too"
    )


def test_another_participant_at_the_same_browser_is_another_rater(prolific: Study) -> None:
    client = come(prolific, f"?PROLIFIC_PID={PID}")
    come(prolific, "?PROLIFIC_PID=other", client)
    assert list(Rater.objects.values_list("participant", flat=True)) == [PID, "other"]


def test_the_consent_form_keeps_what_the_panel_added(prolific: Study) -> None:
    html = Client().get(pages.address(prolific, "consent") + f"?PROLIFIC_PID={PID}").content.decode()
    form = re.search(r'<form [^>]*id="consent"[^>]*>.*?</form>', html, re.DOTALL)
    assert form
    assert "action=" not in form[0].split(">")[0], "it goes back to the address that it came from"
    assert f'formaction="{pages.address(prolific, "refuse")}?PROLIFIC_PID={PID}"' in form[0]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?PROLIFIC_PID=",
        f"?PROLIFIC_PID={'x' * 101}",
        "?PROLIFIC_PID=<script>alert(1)</script>",
        "?PROLIFIC_PID={{%25PROLIFIC_PID%25}}",
        f"?PROLIFIC_PID={PID}&SESSION_ID=a%20b",
        f"?PROLIFIC_PID={PID}&STUDY_ID=%0d%0aSet-Cookie:x",
        "?participant=somebody",
    ],
)
def test_a_link_that_names_no_participant_says_so_and_makes_nobody(prolific: Study, query: str) -> None:
    address = pages.address(prolific, "consent") + query
    for response in (Client().get(address), Client().post(address)):
        assert response.status_code == 400
        assert "This link is not complete" in response.content.decode()
        assert "<script>alert" not in response.content.decode()
    assert not Rater.objects.exists()


def test_without_a_panel_what_a_link_adds_is_not_looked_at(study: Study) -> None:
    come(study, f"?PROLIFIC_PID={PID}")
    assert Rater.objects.get().participant == ""


# -- The way back -------------------------------------------------------------------------------------------------


def returning(page: object) -> tuple[str, str]:
    found = page.context["returning"]  # type: ignore[attr-defined]
    return found.code, found.address


def test_prolific_gets_its_code_at_each_end(prolific: Study) -> None:
    back = "https://app.prolific.com/submissions/complete?cc="
    client = come(prolific, f"?PROLIFIC_PID={PID}")
    client.post(pages.address(prolific, "instructions"))
    early = client.get(pages.address(prolific, "end"))
    assert early.context["returning"] is None, "no code before the end"
    assert "DONE1" not in early.content.decode()
    page = pages.compare(client, prolific)
    for _ in range(4):
        page = pages.answer(client, page, "tie")
    assert returning(page) == ("DONE1", back + "DONE1")
    html = page.content.decode()
    assert f'href="{back}DONE1"' in html
    assert '<strong id="code">DONE1</strong>' in html
    assert f'action="{back}' not in html, "a form may not leave the site"
    Rater.objects.update(rejected_at="2026-01-01T00:00Z")
    assert returning(client.get(pages.address(prolific, "end"))) == ("F1", back + "F1")
    refused = Client().post(pages.address(prolific, "refuse") + "?PROLIFIC_PID=other")
    assert returning(refused) == ("NO1", back + "NO1")


def test_whoever_comes_too_late_is_sent_back_as_screened_out(prolific: Study) -> None:
    prolific.comparisons.update(taken=3)
    late = come(prolific, "?PROLIFIC_PID=late")
    late.post(pages.address(prolific, "instructions"))
    page = pages.compare(late, prolific)
    assert (page.context["status"], returning(page)[0]) == (Status.SCREENED_OUT, "FULL1")
    launch.close(prolific)
    page = Client().get(pages.address(prolific, "consent") + "?PROLIFIC_PID=later")
    assert returning(page)[0] == "FULL1"


@pytest.mark.parametrize("field", ["code_complete", "code_screened_out", "code_refused", "code_failed_checks"])
def test_each_status_has_its_own_code(field: str) -> None:
    study = Study(panel="prolific", **{field: "X"})
    with_code = [status for status in Status if (found := panels.way_back(study, status)) and found.code]
    assert with_code == [Status(field.removeprefix("code_"))]


def test_another_panel_gets_its_blanks_filled_in_and_quoted() -> None:
    address = "https://panel.example/back?c={code}&s={status}&p={participant}"
    study = Study(panel="other", return_url=address, code_complete="a b&c")
    found = panels.way_back(study, Status.COMPLETE, "p/1?x={code}")
    assert found
    assert found.address == ("https://panel.example/back?c=a%20b%26c&s=complete&p=p%2F1%3Fx%3D%7Bcode%7D")


def test_without_a_panel_there_is_nowhere_to_go_back_to() -> None:
    assert panels.way_back(Study(code_complete="X"), Status.COMPLETE) is None


@pytest.mark.parametrize(
    "address",
    [
        "http://a.example/",
        "//a.example",
        "https://",
        "https://u:p@a.example/",
        "https://{code}.example/",
        "javascript:1",
    ],
)
def test_only_https_addresses_with_a_fixed_host_are_taken(address: str) -> None:
    with pytest.raises(ValidationError):
        panels.valid_return_url(address)


def test_the_names_that_panels_use_are_looked_for() -> None:
    study = Study(panel="other")
    assert panels.participant_of(study, QueryDict("participant=a-1&session=b_2")) == panels.Participant("a-1", "b_2")


# -- Text is text -------------------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script><b onclick=x>&\"'"
SUPPLIED = ("title", "question", "consent_text", "instructions", "pay", "code_complete")


def test_what_a_researcher_wrote_is_text_on_every_page(make_study: MakeStudy) -> None:
    texts = dict.fromkeys(SUPPLIED, EVIL) | {"code_complete": EVIL[:40], "pay": EVIL[:100]}
    study = make_study(panel="other", return_url="https://panel.example/?c={code}", reason_tags=[EVIL], **texts)
    query, client = "?participant=p1", Client()
    seen = [client.get(pages.address(study, "consent") + query)]
    come(study, query, client)
    seen += [client.get(pages.address(study, name)) for name in ("instructions", "leave", "withdraw", "receipt")]
    client.post(pages.address(study, "instructions"))
    page = pages.compare(client, study)
    seen.append(page)
    for _ in range(4):
        page = pages.answer(client, page, "tie")
    seen += [page, Client().post(pages.address(study, "refuse") + query)]
    client.post(pages.address(study, "withdraw"))
    seen.append(client.get(pages.address(study, "receipt")))
    for response in seen:
        html = response.content.decode()
        assert response.status_code == 200
        assert "&lt;script&gt;alert(1)" in html
        assert "<script>alert" not in html
        assert "<b onclick" not in html


@pytest.mark.parametrize("purpose", ["practice", "gold"])
def test_what_a_check_item_says_is_text(make_study: MakeStudy, purpose: str) -> None:
    study = make_study(problems=1)
    texts = dict.fromkeys(("question", "answer", "better", "worse", "feedback"), EVIL)
    CheckItem.objects.create(study=study, purpose=purpose, **texts)
    client = pages.consent(study)
    page = pages.compare(client, study)
    seen = [page, pages.answer(client, page, "a1"), pages.compare(client, study)]
    html = "".join(response.content.decode() for response in seen)
    assert html.count("&lt;script&gt;alert(1)") >= 3
    assert "<script>alert" not in html
    assert "<b onclick" not in html
