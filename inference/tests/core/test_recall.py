"""The benchmark of recall, on the stand-in, in which step 2 chooses the answer."""

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
        replace(one, tests=tuple(replace(test, excess=9.0 * (at + 1)) for at, test in enumerate(one.tests)))
        if fold[number] == 0
        else one
        for number, one in enumerate(problems)
    ]
    after = head_scores(changed)
    assert [after[at] == before[at] for at, own in enumerate(fold) if own == 0] == [True] * fold.count(0)
    assert any(after[at] != before[at] for at, own in enumerate(fold) if own != 0)


def test_another_head_can_be_put_in_place(problems):
    from recall_parts.rankings import FUSED, HEAD, rankings

    from inference.core.step_head import StepHead

    made = rankings(problems, fit=lambda steps: StepHead(steps.features.shape[1]))
    assert made[HEAD] == made[FUSED]  # it learned nothing


def test_the_table_says_what_rankings_find(problems, capsys):
    from recall_parts import table

    found = table.analysed(problems)
    main = found["definitions"]["p <= 0.05"]
    assert main["rankings"]["at random"]["recall"] == pytest.approx(0.5)
    assert main["rankings"]["fork entropy"]["recall"] > 0.8  # the script is unsure where it chooses
    assert set(main["rankings"]) < set(found["definitions"]["half"]["rankings"])
    assert found["counts"]["tokens"] > 1000
    assert found["in_order"]["fork entropy"]["recall"] > 0.7
    assert found["in_order"]["at random"]["recall"] == 0.5
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


def test_the_command_needs_no_model_for_what_was_gathered(model, tmp_path, monkeypatch):
    import recall

    path, out = gathered(model, tmp_path, limit=2, rollouts=4).path, tmp_path / "new" / "found.json"
    monkeypatch.setattr(
        "sys.argv", ["recall.py", "--from", str(path), "--json", str(out), "--model", "no such model"]
    )
    assert recall.main() == 0
    found = json.loads(out.read_text())
    assert (found["counts"]["problems"], found["counts"]["rollouts"], found["settings"]) == (4, 4, {"rollouts": 4})


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


def test_files_made_side_by_side_are_read_as_one_and_each_is_written_by_one_process(model, tmp_path):
    from recall_parts.work import WorkFile, WorkFileError, read_all

    (tmp_path / "other").mkdir()
    first, second = (gathered(model, folder, 1, 2) for folder in (tmp_path, tmp_path / "other"))
    assert len(read_all([first.path])[1]) == len(read_all([first.path, second.path])[1]) == 2
    with pytest.raises(WorkFileError, match="Another process"):
        WorkFile(first.path, {"rollouts": 2})
    other = WorkFile(tmp_path / "more.jsonl", {"rollouts": 3}).path
    with pytest.raises(WorkFileError, match=r"more\.jsonl was made with"):
        read_all([first.path, other])


@pytest.mark.parametrize("content", ["", "no JSON\n", '{"schema": 9}\n', '{"schema": 1}\n'])
def test_what_is_no_work_file_is_refused(tmp_path, content):
    from recall_parts.work import WorkFileError, read

    path = tmp_path / "other.jsonl"
    path.write_text(content)
    with pytest.raises(WorkFileError, match=r"other\.jsonl"):
        read(path)
