"""The registry: which head is in use, who put it there and why, and what can never change."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from inference import heads
from inference.models import HeadAlias, HeadVersion, Promotion, UnchangeableError

MODEL = "standin"


@pytest.fixture
def untrained(db):
    return HeadVersion.objects.get(number=0)


def trained(letter):
    return heads.register(letter * 64, {"model": MODEL, "revision": ""})


def promote(head, **options):
    return heads.promote(head, **{"reason": "better", "by": "kim", **options})


def called(alias):
    return HeadVersion.objects.called(alias, MODEL)


def test_each_model_has_its_own_head_in_use(untrained):
    assert HeadVersion.objects.current(MODEL) == untrained
    first, second = trained("1"), trained("2")
    promote(first)
    promote(second)
    assert HeadVersion.objects.current(MODEL) == second
    assert HeadVersion.objects.current("another model") == untrained
    assert HeadAlias.objects.filter(name="current").count() == 1


def test_the_log_says_from_which_to_which_and_why(untrained):
    first = trained("1")
    promote(first, reason="it won on held-out problems")
    row = Promotion.objects.get()
    assert (row.from_head, row.to_head, row.by) == (untrained, first, "kim")
    assert row.reason == "it won on held-out problems"


def test_a_rollback_puts_the_previous_head_back_and_a_second_one_returns(untrained):
    first, second = trained("1"), trained("2")
    promote(first)
    promote(second)
    heads.roll_back(MODEL, "", "raters complained", "kim")
    assert (called("current"), called("previous")) == (first, second)
    heads.roll_back(MODEL, "", "they were wrong", "kim")
    assert (called("current"), called("previous")) == (second, first)
    assert [row.kind for row in Promotion.objects.order_by("pk")] == ["promote", "promote", "rollback", "rollback"]


def test_the_first_promotion_can_be_rolled_back_to_the_untrained_head(untrained):
    promote(trained("1"))
    heads.roll_back(MODEL, "", "too early", "kim")
    assert HeadVersion.objects.current(MODEL) == untrained


def test_without_a_promotion_there_is_nothing_to_roll_back_to(untrained):
    with pytest.raises(heads.PromotionError, match="nothing to roll back to"):
        heads.roll_back(MODEL, "", "why not", "kim")


def test_a_held_head_is_the_candidate_until_it_is_promoted(untrained):
    held = trained("1")
    heads.nominate(held)
    assert called("candidate") == held
    promote(held)
    assert called("candidate") is None
    heads.nominate(held)
    assert called("candidate") is None, "the head in use is no candidate"


def test_the_same_content_is_the_same_version(untrained):
    assert trained("1") == trained("1")
    assert trained("2").number == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reason": "  "}, "Say why"),
        ({"model": "another"}, "was fitted on standin"),
    ],
)
def test_promotions_that_are_refused_change_nothing(untrained, options, said):
    with pytest.raises(heads.PromotionError, match=said):
        promote(trained("1"), **options)
    assert HeadVersion.objects.current(MODEL) == untrained
    assert not Promotion.objects.exists()


def test_a_promotion_is_refused_when_another_came_first(untrained):
    first, second = trained("1"), trained("2")
    promote(first)
    with pytest.raises(heads.PromotionError, match="head v1 has come into use"):
        promote(second, instead_of=untrained)
    with pytest.raises(heads.PromotionError, match="in use for standin already"):
        promote(first)


def test_the_untrained_head_needs_to_be_told_its_model(untrained):
    promote(trained("1"))
    with pytest.raises(heads.PromotionError, match="belongs to no model"):
        promote(untrained)
    promote(untrained, model=MODEL)
    assert HeadVersion.objects.current(MODEL) == untrained


def test_head_versions_and_promotions_never_change(untrained):
    promote(trained("1"))
    for row in (HeadVersion.objects.latest("number"), Promotion.objects.get()):
        with pytest.raises(UnchangeableError, match="never changed"):
            row.save()
        with pytest.raises(UnchangeableError, match="never deleted"):
            row.delete()
        with pytest.raises(UnchangeableError, match="never changed"):
            type(row).objects.update(base_model="another")
        with pytest.raises(UnchangeableError, match="never deleted"):
            type(row).objects.all().delete()


def test_the_database_allows_one_head_per_alias_and_no_promotion_without_a_reason(untrained):
    promote(trained("1"))
    with pytest.raises(IntegrityError), transaction.atomic():
        HeadAlias.objects.create(name="current", base_model=MODEL, head=untrained)
    with pytest.raises(IntegrityError), transaction.atomic():
        Promotion.objects.create(kind="promote", base_model=MODEL, from_head=untrained, to_head=untrained, by="kim")


def migrate(*targets):
    executor = MigrationExecutor(connection)
    executor.migrate(list(targets))
    return executor.loader.project_state(list(targets)).apps


def test_heads_that_were_in_use_before_the_log_are_taken_over(transactional_db):
    old = migrate(("inference", "0002_untrained_head")).get_model("inference", "HeadVersion")
    try:
        for number in (1, 2):
            at = timezone.now()
            old.objects.create(number=number, sha256=f"{number}" * 64, base_model=MODEL, activated_at=at)
        old.objects.filter(number=2).update(in_use=True)
    finally:
        migrate(*MigrationExecutor(connection).loader.graph.leaf_nodes())
    assert (called("current").number, called("previous").number) == (2, 1)
    assert [row.to_head.number for row in Promotion.objects.order_by("pk")] == [1, 2]
