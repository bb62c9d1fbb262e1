"""The benchmark of recall: its statistics on planted numbers, and the whole of it on the stand-in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import inference
from inference.tests.standin import stand_in_model

BENCHMARKS = Path(inference.__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True, scope="module")
def importable():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


def ranked(scores, points, costs=None):
    from recall_parts.curves import Ranked

    return Ranked(np.array(scores, float), np.array(costs or [1.0] * len(scores)), np.array(points, bool))


def planted(turned=1, seed=0):
    """40 problems of 4 steps, one or two of which are points; the score tells which, or with -1 which are not."""
    draw = np.random.default_rng(seed)
    points = [draw.permutation([True, bool(draw.integers(2)), False, False]) for _ in range(40)]
    return [ranked(turned * (own + 0.1 * draw.random(4)), own) for own in points]


# -- Statistics ----------------------------------------------------------------------------------------------------


def test_a_ranking_that_knows_finds_all_points_and_its_reverse_none():
    from recall_parts import curves

    for turned, expected in ((1, 1.0), (-1, 0.0)):
        problems = planted(turned)
        found = curves.found_by(problems, 0.5)
        assert curves.recall(found, curves.points_of(problems)) == expected
    assert curves.area(planted(1)) > 0.75
    assert curves.area(planted(1)) + curves.area(planted(-1)) == pytest.approx(1.0)


@pytest.mark.parametrize("budget", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_equal_scores_find_the_share_that_is_paid_for(budget):
    from recall_parts import curves

    problems = [ranked([3.0] * size, [True, *[False] * (size - 1)]) for size in (1, 2, 3, 7)]
    assert curves.curve(problems, np.array([budget]))[0] == pytest.approx(budget)


def test_chances_are_those_of_random_order_among_ties():
    """Against drawing the order of equal scores many times, and the step that is only partly paid."""
    from recall_parts.curves import paid

    scores, budget, draw = np.array([2.0, 1.0, 1.0, 1.0, 0.0]), 0.5, np.random.default_rng(3)
    drawn = np.zeros(5)
    for _ in range(4000):
        order = np.lexsort((draw.random(5), -scores))
        count = int(budget * 5) + (draw.random() < budget * 5 % 1)
        drawn[order[:count]] += 1 / 4000
    np.testing.assert_allclose(paid(scores, np.ones(5), np.array([budget]))[0], drawn, atol=0.04)


def test_exactly_the_budget_is_spent_whatever_steps_cost():
    from recall_parts.curves import paid

    draw, budgets = np.random.default_rng(5), np.array([0.0, 0.3, 0.77, 1.0])
    scores, costs = draw.integers(3, size=9).astype(float), draw.random(9) + 0.1
    np.testing.assert_allclose(paid(scores, costs, budgets) @ costs, budgets * costs.sum())


def test_a_budget_is_a_share():
    from recall_parts.curves import paid

    with pytest.raises(ValueError, match="0 to 1"):
        paid(np.ones(1), np.ones(1), np.array([0.5, 1.5]))


def test_problems_without_a_point_do_not_count():
    from recall_parts import curves

    with_points = planted()
    without = [ranked([1.0, 2.0], [False, False])] * 20
    for problems in (with_points, [*with_points, *without]):
        assert curves.recall(curves.found_by(problems, 0.25), curves.points_of(problems)) == pytest.approx(
            curves.curve(with_points, np.array([0.25]))[0]
        )
    assert np.isnan(curves.area(without))
    assert np.isnan(curves.interval(curves.found_by(without, 0.5), curves.points_of(without))).all()


def test_the_interval_holds_the_recall_and_shrinks_with_problems():
    from recall_parts import curves

    draw = np.random.default_rng(8)
    problems = [ranked(draw.random(4), draw.random(4) < 0.3) for _ in range(400)]
    widths = []
    for count in (40, 400):
        found, points = curves.found_by(problems[:count], 0.5), curves.points_of(problems[:count])
        low, high = curves.interval(found, points)
        assert low <= curves.recall(found, points) <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_corrections_keep_order_and_are_the_known_ones():
    from recall_parts.curves import benjamini_hochberg, holm

    p = [0.04, 0.01, 0.03, 0.9]
    assert holm(p).tolist() == pytest.approx([0.09, 0.04, 0.09, 0.9])
    assert benjamini_hochberg(p).tolist() == pytest.approx([0.16 / 3, 0.04, 0.16 / 3, 0.9])
    for adjust in (holm, benjamini_hochberg):
        assert adjust([]).tolist() == []
        assert adjust([0.02]).tolist() == [0.02]
        assert (adjust(p) >= p).all()


# -- The whole, on the stand-in, in which step 2 chooses the answer ------------------------------------------------


def problem_file(folder, count, name="riddles"):
    path = folder / f"{name}.jsonl"
    rows = [
        {
            "key": f"riddle-{at}",
            "kind": "logic",
            "question": f"Bag {at} holds a ball of one colour. Which colour is it?",
            "options": ["Red", "Blue", "Green", "White"],
            "gold": 0,
        }
        for at in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gathered(model, folder, limit=6, rollouts=16):
    from recall_parts import gather
    from recall_parts.work import WorkFile

    work = WorkFile(folder / "work.jsonl", {"rollouts": rollouts})
    files = gather.problems_of([problem_file(folder, 8), problem_file(folder, 8, "puzzles")])
    gather.gather(model, files, limit, rollouts, work)
    return work


@pytest.fixture(scope="module")
def problems(importable, tmp_path_factory):
    from recall_parts.reference import references

    work = gathered(stand_in_model(), tmp_path_factory.mktemp("recall"))
    return references(list(work.known.values()))


def test_the_step_that_chooses_is_the_point_and_chance_explains_no_more_than_a_few(problems):
    from recall_parts.reference import DEFINITIONS

    chosen = [row for one in problems for row in DEFINITIONS["p <= 0.05"](one)]
    assert [one.steps for one in problems] == [(0, 1, 2)] * 12
    assert sum(chosen[1::3]) >= 11
    assert sum(chosen[0::3]) + sum(chosen[2::3]) <= 4
    assert all(0 <= chance <= 0.05 for one in problems for chance in one.chance)


def test_stricter_definitions_confirm_no_more(problems):
    from recall_parts.reference import DEFINITIONS

    loose, bh, holm = (
        np.concatenate([DEFINITIONS[name](one) for one in problems]) for name in ("p <= 0.05", "BH", "Holm")
    )
    assert (holm <= bh).all()
    assert (bh <= loose).all()
    assert holm.any()


def test_the_head_learns_from_other_problems_alone(problems):
    """Whatever the effects of its own fold are, a problem's scores stay the same."""
    from dataclasses import replace

    from recall_parts.rankings import folds, head_scores

    fold, before = folds(len(problems)), head_scores(problems)
    changed = [
        replace(one, tests=tuple(replace(test, effect=9.0 * (at + 1)) for at, test in enumerate(one.tests)))
        if fold[number] == 0
        else one
        for number, one in enumerate(problems)
    ]
    after = head_scores(changed)
    assert [after[at] == before[at] for at, own in enumerate(fold) if own == 0] == [True] * fold.count(0)
    assert any(after[at] != before[at] for at, own in enumerate(fold) if own != 0)


def test_another_head_can_be_put_in_place(problems):
    from recall_parts.rankings import HEAD, rankings

    from inference.core.head import Scorer

    made = rankings(problems, fit=lambda steps: Scorer(steps.features.shape[1]))
    assert all(row == [0.0, 0.0, 0.0] for row in made[HEAD])


def test_the_table_says_what_rankings_find(problems, capsys):
    from recall_parts import table

    found = table.analysed(problems)
    main = found["definitions"]["p <= 0.05"]
    assert main["rankings"]["at random"]["recall"] == pytest.approx(0.5)
    assert main["rankings"]["fork entropy"]["recall"] > 0.8  # the script is unsure where it chooses
    assert set(main["rankings"]) < set(found["definitions"]["half"]["rankings"])
    assert found["counts"]["tokens"] > 1000
    json.dumps(found, allow_nan=False)
    table.printed(found)
    said = capsys.readouterr().out
    assert "12 problems, 36 steps before the answer" in said
    assert "Fewer than 60 problems" in said
    assert "By chance alone" in said


def test_where_nothing_is_confirmed_the_table_says_so(problems, capsys):
    from dataclasses import replace

    from recall_parts import table

    none = [
        replace(
            one,
            tests=tuple(replace(test, confirmed=False) for test in one.tests),
            halves=tuple(tuple(replace(test, confirmed=False) for test in half) for half in one.halves),
        )
        for one in problems
    ]
    found = table.analysed(none)
    json.dumps(found, allow_nan=False)
    table.printed(found)
    assert "nothing to find" in capsys.readouterr().out


# -- The work file -------------------------------------------------------------------------------------------------


def test_what_is_read_back_is_what_was_gathered(model, tmp_path):
    from recall_parts.work import read

    work = gathered(model, tmp_path, limit=1, rollouts=2)
    settings, found = read(work.path)
    assert settings == {"rollouts": 2}
    for one in found:
        made = work.known[one.name]
        torch.testing.assert_close(one.features, made.features, rtol=0, atol=0)
        assert (one.trace, one.signals, one.written) == (made.trace, made.signals, made.written)


def test_signals_and_features_can_be_measured_anew_from_what_was_kept(model, tmp_path):
    from dataclasses import replace

    from recall_parts import gather
    from recall_parts.work import read, rewrite

    path = gathered(model, tmp_path, limit=1, rollouts=2).path
    settings, before = read(path)
    rewrite(path, settings, [replace(one, signals=(), features=torch.zeros(3, 1)) for one in before])
    rewrite(path, settings, [gather.remeasured(model, one) for one in read(path)[1]])
    assert read(path)[0] == settings
    assert [one.to_json() for one in read(path)[1]] == [one.to_json() for one in before]


def timeless(line):
    return json.loads(line) | {"seconds": 0}


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(model, tmp_path):
    from recall_parts.work import read

    whole = gathered(model, tmp_path, limit=2, rollouts=2).path
    content = whole.read_bytes()
    lines = content.splitlines(keepends=True)
    whole.write_bytes(b"".join(lines[:3]) + lines[3][:50])
    wrote, generate = [], model.generate_many
    model.generate_many = lambda starts, **options: wrote.append(len(starts)) or generate(starts, **options)
    gathered(model, tmp_path, limit=2, rollouts=2)
    assert len(wrote) == 2
    was, now = ([timeless(line) for line in made[1:]] for made in (lines, whole.read_bytes().splitlines()))
    assert now == was
    assert len(read(whole)[1]) == 4


def test_problems_that_cannot_be_used_are_kept_with_a_reason_and_others_take_their_place(model, tmp_path):
    from recall_parts import gather

    from inference.core import ReasoningError

    def refusing(own_model, problem):
        if "Bag 0" in problem.question:
            raise ReasoningError("It says nothing.")
        return original(own_model, problem)

    original = gather.chain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "chain", refusing)
        known = gathered(model, tmp_path, limit=2, rollouts=2).known
    assert known["riddles/riddle-0"].failure == "It says nothing."
    assert [name for name in known if name.startswith("riddles") and not known[name].failure] == [
        "riddles/riddle-1",
        "riddles/riddle-2",
    ]


def test_a_file_of_other_settings_is_refused_untouched(model, tmp_path):
    from recall_parts.work import WorkFile, WorkFileError

    path = gathered(model, tmp_path, limit=1, rollouts=2).path
    before = path.read_bytes()
    with pytest.raises(WorkFileError, match="name another --work"):
        WorkFile(path, {"rollouts": 3})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "no JSON\n", '{"schema": 9}\n', '{"schema": 1}\n'])
def test_what_is_no_work_file_is_refused(tmp_path, content):
    from recall_parts.work import WorkFileError, read

    path = tmp_path / "other.jsonl"
    path.write_text(content)
    with pytest.raises(WorkFileError, match=r"other\.jsonl"):
        read(path)
