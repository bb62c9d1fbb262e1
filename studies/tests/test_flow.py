"""Who is where: consent, instructions, comparisons, the end, leaving and withdrawing; and who may come in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Thread

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from studies import access, flow, launch
from studies.flow import Place
from studies.models import Assignment, CheckAnswer, CheckItem, Comparison, Invite, Judgement, Prediction, Rater, Study
from studies.tests import pages

MakeStudy = Callable[..., Study]

PAGES = ("instructions", "compare", "end", "leave", "withdraw", "receipt")


def target(client: Client, study: Study, name: str) -> str:
    """Where the page `name` leads: its own name, or that of the page it redirects to."""
    response = client.get(pages.address(study, name))
    if response.status_code == 200:
        return name
    assert response.status_code == 302
    return next(other for other in ("consent", *PAGES) if pages.address(study, other) == response.headers["Location"])


def targets(client: Client, study: Study) -> dict[str, str]:
    return {name: target(client, study, name) for name in PAGES}


# -- The order of the pages ---------------------------------------------------------------------------------------


def test_every_page_leads_a_stranger_to_the_consent(study: Study) -> None:
    assert set(targets(Client(), study).values()) == {"consent"}


def test_whoever_agreed_reads_the_instructions_first(study: Study) -> None:
    client = pages.agree(study)
    assert target(client, study, "consent") == "instructions"
    own = {"instructions", "leave", "withdraw", "receipt"}
    assert targets(client, study) == {name: name if name in own else "instructions" for name in PAGES}
    assert not Assignment.objects.exists(), "nothing is reserved for somebody who is still reading"


def test_whoever_has_started_compares_and_may_read_the_instructions_again(study: Study) -> None:
    client = pages.consent(study)
    first = pages.rater_of(client, study).instructed_at
    assert targets(client, study) == {name: name for name in PAGES}
    client.post(pages.address(study, "instructions"))
    assert pages.rater_of(client, study).instructed_at == first, "the first time counts"


def test_a_study_without_instructions_begins_at_once(make_study: MakeStudy) -> None:
    study = make_study(instructions=" ")
    assert target(pages.agree(study), study, "consent") == "compare"


def test_whoever_is_rejected_sees_the_end_alone(study: Study) -> None:
    client = pages.consent(study)
    Rater.objects.update(rejected_at=timezone.now())
    own = {"end", "leave", "withdraw", "receipt"}
    assert targets(client, study) == {name: name if name in own else "end" for name in PAGES}


def test_a_script_out_of_turn_is_told_where_to_go(study: Study) -> None:
    client = pages.consent(study)
    address, fields = pages.form_of(pages.compare(client, study))
    Rater.objects.update(withdrawn_at=timezone.now())
    response = client.post(address, fields | {"choice": "tie"}, headers={"accept": "application/json"})
    assert (response.status_code, response.json()["next"]) == (409, pages.address(study, "receipt"))
    assert not Judgement.objects.exists()


def test_where_asks_the_database_nothing(study: Study, django_assert_num_queries: Callable[..., object]) -> None:
    rater = Rater(study=study)
    with django_assert_num_queries(0):
        assert flow.where(study, rater) == Place.INSTRUCTIONS


@pytest.mark.parametrize("name", ["consent", *PAGES])
def test_pages_are_never_kept_and_say_their_language(make_study: MakeStudy, name: str) -> None:
    study = make_study(language="de")
    page = (Client() if name == "consent" else pages.consent(study)).get(pages.address(study, name))
    assert page.status_code == 200
    assert "no-store" in page.headers["Cache-Control"]
    assert page.headers["Content-Language"] == "de"
    assert '<html lang="de">' in page.content.decode()


# -- Consent ------------------------------------------------------------------------------------------------------


def test_the_receipt_shows_the_text_agreed_to_with_its_version_and_day(make_study: MakeStudy) -> None:
    study = make_study(consent_text="You agree to <b>this</b>.")
    client = pages.agree(study)
    rater = pages.rater_of(client, study)
    html = client.get(pages.address(study, "receipt")).content.decode()
    assert rater.consent_sha256 == study.consent_sha256
    assert "You agree to &lt;b&gt;this&lt;/b&gt;." in html
    assert study.consent_sha256[:12] in html
    assert str(rater.public_id) in html
    assert str(rater.consented_at.year) in html


def test_not_agreeing_stores_nothing(study: Study) -> None:
    client = Client()
    assert client.get(pages.address(study, "refuse")).status_code == 302
    page = client.post(pages.address(study, "refuse"))
    assert "You did not agree" in page.content.decode()
    assert not page.cookies.get(access.cookie_name(study.token))
    assert not Rater.objects.exists()


def test_not_agreeing_after_all_is_what_withdrawing_is_for(study: Study) -> None:
    client = pages.consent(study)
    assert client.post(pages.address(study, "refuse")).status_code == 302
    assert Rater.objects.count() == 1


# -- Personal links -----------------------------------------------------------------------------------------------


@pytest.fixture
def invite(study: Study) -> Invite:
    return Invite.objects.create(study=study, label="Person 1")


def link(owner: Invite | Rater) -> str:
    return pages.address(owner.study, "invited", access.signed_for(owner.study, owner))


def test_looking_at_a_personal_link_uses_nothing_up(invite: Invite) -> None:
    for _ in range(3):
        assert "I agree, start" in Client().get(link(invite)).content.decode()
    assert not Rater.objects.exists()


def test_a_personal_link_is_one_rater_on_every_device(invite: Invite) -> None:
    laptop, phone = Client(), Client()
    laptop.post(link(invite))
    laptop.post(link(invite))
    assert laptop.get(link(invite)).status_code == 302, "the same browser goes on at once"
    assert "You have started already" in phone.get(link(invite)).content.decode()
    with pytest.raises(AssertionError, match="nobody's"):
        pages.rater_of(phone, invite.study)
    phone.post(link(invite))
    assert pages.rater_of(phone, invite.study) == pages.rater_of(laptop, invite.study) == Rater.objects.get()


def test_two_people_at_one_browser_stay_two(study: Study, invite: Invite) -> None:
    other, client = Invite.objects.create(study=study), Client()
    client.post(link(invite))
    assert "I agree, start" in client.get(link(other)).content.decode()
    client.post(link(other))
    assert Rater.objects.count() == 2
    assert pages.rater_of(client, study).invite == other


def test_a_rater_who_came_by_the_common_link_gets_no_second_self(study: Study, invite: Invite) -> None:
    client = pages.consent(study)
    assert "You have started already" in client.get(link(invite)).content.decode()
    client.post(link(invite))
    assert Rater.objects.get().invite == invite


@pytest.mark.parametrize("signed", ["i1", "i1.forged", "r.x", "nonsense"])
def test_a_forged_personal_link_is_not_found(invite: Invite, signed: str) -> None:
    address = pages.address(invite.study, "invited", signed)
    assert (Client().get(address).status_code, Client().post(address).status_code) == (404, 404)
    assert not Rater.objects.exists()


def test_a_personal_link_of_another_study_is_not_found(make_study: MakeStudy, invite: Invite) -> None:
    other = make_study(slug="other")
    address = pages.address(other, "invited", access.signed_for(invite.study, invite))
    assert Client().post(address).status_code == 404


def test_an_expired_personal_link_says_so_and_still_serves_who_has_begun(invite: Invite) -> None:
    early, late = Client(), Client()
    early.post(link(invite))
    second = Invite.objects.create(study=invite.study)
    Invite.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert late.get(link(invite)).status_code == 200
    for response in (late.get(link(second)), late.post(link(second))):
        assert response.status_code == 410
        assert "no longer valid" in response.content.decode()
    assert Rater.objects.count() == 1


def test_a_study_by_invitation_takes_nobody_by_its_common_link(make_study: MakeStudy) -> None:
    study = make_study(invited_only=True)
    client = Client()
    for response in (client.get(pages.address(study, "consent")), client.post(pages.address(study, "consent"))):
        assert response.status_code == 403
        assert "by invitation" in response.content.decode()
    client.post(link(Invite.objects.create(study=study)))
    assert client.get(pages.address(study, "consent")).status_code == 302, "who was invited resumes by it"


def test_every_rater_gets_a_link_back_for_other_devices(study: Study) -> None:
    client, phone = pages.consent(study), Client()
    page = client.get(pages.address(study, "leave"))
    phone.post(page.context["way_back"])
    assert pages.rater_of(phone, study) == pages.rater_of(client, study)


@pytest.mark.django_db(transaction=True)
def test_agreeing_in_two_tabs_at_once_is_one_rater(make_study: MakeStudy) -> None:
    invite = Invite.objects.create(study=make_study())
    codes: list[int] = []

    def press() -> None:
        codes.append(Client().post(link(invite)).status_code)
        connection.close()

    tabs = [Thread(target=press) for _ in range(4)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert codes == [302] * 4
    assert Rater.objects.count() == 1


# -- The end ------------------------------------------------------------------------------------------------------


def play(study: Study, choices: list[str], query: str = "") -> Client:
    client = pages.consent(study, query)
    page = pages.compare(client, study)
    for choice in choices:
        page = pages.answer(client, page, choice)
    return client


def arm_choices(client: Client, study: Study, arm: str, number: int) -> None:
    """Answer `number` comparisons for the arm `first` or `second`, wherever it stands."""
    page = pages.compare(client, study)
    for _ in range(number):
        held = Assignment.objects.filter(rater=pages.rater_of(client, study)).latest("number")
        left = held.first_on_left == (arm == "first")
        page = pages.answer(client, page, "a1" if left else "b1")


def test_the_end_tells_how_often_one_chose_as_most_others_did(make_study: MakeStudy) -> None:
    study = make_study(problems=6, wanted=4, levels=5)
    arms = ["first", "first", "second", "first"]
    clients = [pages.consent(study) for _ in arms]
    for client, arm in zip(clients, arms, strict=True):
        arm_choices(client, study, arm, 6)
    ends = [client.get(pages.address(study, "end")) for client in clients]
    assert [(end.context["agreement"].same, end.context["agreement"].comparable) for end in ends] == [
        (6, 6),
        (6, 6),
        (0, 6),
        (6, 6),
    ]
    assert "In 0 of the 6 comparisons" in ends[2].content.decode()


def test_too_few_answers_tell_nothing_of_agreement(make_study: MakeStudy) -> None:
    study = make_study(problems=4, levels=5)
    clients = [pages.consent(study) for _ in range(3)]
    for client in clients:
        arm_choices(client, study, "first", 4)
    page = clients[0].get(pages.address(study, "end"))
    assert page.context["status"] == "complete"
    assert 'id="agreement"' not in page.content.decode()


def test_having_finished_is_stored_once_and_leaving_early_is_not(study: Study) -> None:
    client = play(study, ["tie"] * 3)
    client.get(pages.address(study, "leave"))
    assert pages.rater_of(client, study).finished_at is None
    pages.answer(client, pages.compare(client, study), "tie")
    first = pages.rater_of(client, study).finished_at
    assert first
    client.get(pages.address(study, "end"))
    assert pages.rater_of(client, study).finished_at == first


# -- Withdrawing --------------------------------------------------------------------------------------------------


def played_with_everything(make_study: MakeStudy, rule: str) -> tuple[Study, Client]:
    study = make_study(withdrawal=rule, panel="other", levels=5, pastes_noted=True)
    client = play(study, ["a1", "b1"], "?participant=p1&session=s1")
    given = Judgement.objects.first()
    assert given
    Judgement.objects.filter(pk=given.pk).update(
        reason="my name is Kim", spans=[{"arm": "first", "start": 0, "end": 3, "comment": "as I wrote in my book"}]
    )
    Prediction.objects.create(assignment=given.assignment, when="before", option=0)
    item = CheckItem.objects.create(study=study, purpose="gold", question="?", answer="!", better="b", worse="w")
    CheckAnswer.objects.create(item=item, rater=given.assignment.rater, better_on_left=True, choice="better")
    pages.compare(client, study)  # one more in hand
    return study, client


def test_asking_to_withdraw_does_nothing_yet(study: Study) -> None:
    client = play(study, ["tie"])
    assert client.get(pages.address(study, "withdraw")).status_code == 200
    assert Judgement.objects.count() == 1
    assert pages.rater_of(client, study).withdrawn_at is None


def test_withdrawing_erases_every_answer_and_gives_the_places_back(make_study: MakeStudy) -> None:
    study, client = played_with_everything(make_study, "erase")
    page = client.post(pages.address(study, "withdraw"), follow=True)
    assert "Your answers were deleted" in page.content.decode()
    assert not any(model.objects.exists() for model in (Assignment, Judgement, Prediction, CheckAnswer))
    assert {comparison.taken for comparison in Comparison.objects.all()} == {0}
    rater = Rater.objects.get()
    assert (rater.participant, rater.panel_session, rater.invite) == ("", "", None)
    assert rater.withdrawn_at


def test_withdrawing_can_keep_the_choices_under_nobodys_name(make_study: MakeStudy) -> None:
    study, client = played_with_everything(make_study, "anonymise")
    before = pages.rater_of(client, study)
    client.post(pages.address(study, "withdraw"))
    assert Judgement.objects.count() == 2
    owner = Rater.objects.exclude(pk=before.pk).get()
    assert {judgement.assignment.rater for judgement in Judgement.objects.all()} == {owner}
    assert owner.public_id != before.public_id
    assert [owner.participant, owner.panel_session, owner.invite, owner.withdrawn_at] == ["", "", None, None]
    assert not Judgement.objects.exclude(reason="", viewport="").exists()
    assert [span["comment"] for judgement in Judgement.objects.all() for span in judgement.spans] == [""]
    assert sum(Comparison.objects.values_list("taken", flat=True)) == 2, "the one in hand was given back"
    assert not Assignment.objects.filter(rater=before).exists()


@pytest.mark.parametrize("rule", ["erase", "anonymise"])
def test_old_pages_of_somebody_who_withdrew_lead_to_the_receipt(make_study: MakeStudy, rule: str) -> None:
    study = make_study(withdrawal=rule)
    client = play(study, ["tie"])
    page = pages.compare(client, study)
    address, fields = pages.form_of(page)
    client.post(pages.address(study, "withdraw"))
    kept = Judgement.objects.count()
    receipt = pages.address(study, "receipt")
    assert set(targets(client, study).values()) == {"receipt"}
    for old, sent in (
        (address, fields | {"choice": "tie"}),
        (pages.address(study, "undo"), {"judgement": 1}),
        (pages.address(study, "withdraw"), {}),
        (pages.address(study, "instructions"), {}),
        (pages.address(study, "consent"), {}),
        (page.context.get("way_back") or pages.address(study, "consent"), {}),
    ):
        assert client.post(old, sent).headers["Location"] == receipt
    assert Judgement.objects.count() == kept


def test_a_personal_link_is_used_up_by_withdrawing(invite: Invite) -> None:
    client = Client()
    client.post(link(invite))
    client.post(pages.address(invite.study, "withdraw"))
    assert Client().post(link(invite)).status_code == 410
    assert Rater.objects.count() == 1


def test_a_closed_study_can_still_be_withdrawn_from(study: Study) -> None:
    client = play(study, ["tie"])
    launch.close(study)
    client.post(pages.address(study, "withdraw"))
    assert not Judgement.objects.exists()


def test_every_page_of_a_rater_leads_to_leaving_and_withdrawing(study: Study) -> None:
    client = pages.consent(study)
    for name in PAGES:
        html = client.get(pages.address(study, name)).content.decode()
        assert reverse("studies:leave", args=[study.token]) in html, name
        assert reverse("studies:withdraw", args=[study.token]) in html, name
