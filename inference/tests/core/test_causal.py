"""The causal test of a step, on the stand-in's planted choice."""

from dataclasses import replace

import pytest

from inference.core import LanguageModel, Problem, ReasonSettings, causal, invert, reason
from inference.core.decode import Sampling
from inference.core.kept import KeptFile
from inference.core.looks import looks
from inference.core.resampling import Resamples, start_of
from inference.core.similarity import Compared, Words
from inference.tests.core.conftest import PROBLEM
from inference.tests.standin import parts

MANY, WORDS = 40, Words()


def examined(model, trace, step, rollouts=MANY, seed=0):
    return alone(model, trace, step, rollouts, seed, invert(model, trace))


def alone(model, trace, step, rollouts, seed, inversion):
    (found,) = causal.test_steps(model, trace, [step], rollouts, seed, inversion, quiet, similarity=WORDS)
    return found


def test_the_step_that_chooses_is_confirmed(model, trace):
    found = examined(model, trace, 1)
    assert found.confirmed
    assert found.p_value <= 0.05
    assert found.effect_interval[0] > 0
    assert set(found.kept_answers) == {trace.answer.text}
    assert sum(found.different_answers.values()) > 2 * found.different_answers.get(trace.answer.text, 0)


def test_a_step_that_does_not_choose_is_confirmed_no_more_than_by_chance(model, trace):
    for step in (0, 2):
        found = [examined(model, trace, step, rollouts=15, seed=seed) for seed in range(12)]
        assert all(one.different > one.rollouts / 5 for one in found)
        assert sum(one.confirmed for one in found) <= 2


def test_the_counts_add_up(model, trace):
    found = examined(model, trace, 1, rollouts=7)
    assert found.rollouts == 7
    assert sum(found.kept_answers.values()) == 1 + 7 + 7 - found.different  # the trace itself, and 7 from after it
    assert sum(found.different_answers.values()) == found.different
    assert sum(group.count for group in found.alternatives) == found.different
    assert all(sum(group.answers.values()) == group.count for group in found.alternatives)
    assert [group.count for group in found.alternatives] == sorted(
        [g.count for g in found.alternatives], reverse=True
    )


def test_the_seed_decides(model, trace):
    assert examined(model, trace, 1, seed=2) == examined(model, trace, 1, seed=2)
    assert examined(model, trace, 1, seed=2) != examined(model, trace, 1, seed=3)


def quiet(stage, share):
    pass


def test_steps_tested_together_are_tested_as_alone(model, trace):
    """In whatever order; by the stand-in's script, and by a real decoding loop in one ragged batch."""
    for writer in (model, LanguageModel(*parts(), "tiny")):
        inversion = invert(writer, trace)
        together = causal.test_steps(writer, trace, [2, 0, 1], 5, 3, inversion, quiet, similarity=WORDS)
        assert together == [alone(writer, trace, step, 5, 3, inversion) for step in (2, 0, 1)]
        assert together == causal.test_steps(
            writer, trace, [2, 0, 1], 5, 3, None, quiet, similarity=WORDS
        )  # each start on its own
        assert all(test.rollouts == 5 and test.different for test in together)


def test_what_two_tests_share_is_written_once(model, trace, monkeypatch):
    """Where the end of one step is the beginning of the next, as with sentences in one line."""
    first, second, *others = trace.steps
    joined = replace(trace, steps=(replace(first, token_end=second.token_start), second, *others))
    written, write = [], model.generate_many

    def counted(starts, **options):
        written.append([len(start.ids) - len(trace.prompt_ids) for start in starts])
        return write(starts, **options)

    monkeypatch.setattr(model, "generate_many", counted)
    causal.test_steps(model, joined, [1, 0], 2, 0, None, quiet, similarity=WORDS)
    assert written == [[first.token_start, second.token_start, second.token_end]]


def test_no_steps_to_test_ask_nothing_of_the_model(trace):
    assert causal.test_steps(None, trace, [], 5, 0, None, quiet) == []


@pytest.mark.parametrize(
    ("settings", "drawn"),
    [
        (ReasonSettings(seed=4), True),
        (ReasonSettings(seed=0), False),
        (ReasonSettings(seed=4, temperature=0.0), False),
    ],
)
def test_the_answer_of_a_greedy_trace_is_no_random_draw(trace, settings, drawn):
    after = [causal.Resample(trace.steps[1].text, trace.answer.text)] * 3
    made = [causal.Resample("Step 2: Something else.", "Grey")] * 3
    (look,) = looks(3, most=1)
    found = causal.assessed(replace(trace, settings=settings), 1, made, after, 0, look, Compared(WORDS))
    # How likely three of six, or of seven, are to be drawn as they were, or the other way round.
    assert found.p_value == pytest.approx(1 / 35 if drawn else 2 / 20)
    assert found.kept_answers == {trace.answer.text: 4}


def test_where_nothing_else_is_ever_written_there_is_no_effect(model):
    only = reason(model, Problem("Which one?", ("This", "This one")), ReasonSettings())
    model.generate = lambda ids, sampling, rows=1, **options: [only.tokens[only.steps[1].token_start :]] * rows
    found = examined(model, only, 1)
    assert (found.different, found.effect, found.p_value, found.confirmed) == (0, None, None, False)
    assert found.alternatives == ()


def test_an_answer_that_cannot_be_read_is_counted_as_such(model, trace):
    model.generate = lambda ids, sampling, rows=1, **options: [()] * rows
    found = examined(model, trace, 1, rollouts=5)
    assert found.different_answers == {"": 5}
    assert found.alternatives[0].example == ""
    assert (found.effect, found.p_value, found.confirmed) == (None, None, False)


@pytest.mark.parametrize("gap", ["\n", " "])
@pytest.mark.parametrize(("rest", "answer"), [("So they are", None), ("Hm.\nAnswer: White", "White")])
def test_what_was_stated_before_a_rollout_is_not_its_answer(model, gap, rest, answer):
    chain = f"First, the answer is Black.{gap}Cats may be grey.\nAnswer: Black"
    model.generate = lambda *args, **options: [model.spelled(chain, Sampling(99))]
    trace = reason(model, PROBLEM, ReasonSettings())
    step = trace.steps[1]
    assert step.text == "Cats may be grey."
    found = causal.read(trace, step.token_start, step, model.spelled(f" {rest}", Sampling(99)))
    assert found == causal.Resample(rest.split("\n")[0], answer)
    kept = causal.read(trace, step.token_end, step, trace.tokens[step.token_end :])
    assert kept == causal.Resample(step.text, "Black")


def test_a_rollout_from_within_a_think_block_goes_on_behind_it(model):
    """Neither its end nor the guide takes what stands in the block for the answer line."""
    chain = "<think>\nCats may be grey.\nHm.\n</think>\nAnswer: Black"
    model.generate = lambda *args, **options: [model.spelled(chain, Sampling(99))]
    trace = reason(model, PROBLEM, ReasonSettings())
    opened = [start_of(model, trace, step.token_end, 0).opened for step in trace.steps]
    assert opened == [model.encode("<think>"), (), ()]
    writer, read = LanguageModel(*parts(), "tiny"), []
    writer.guide = lambda options: lambda ids: read.append(writer.decode(ids))
    for step in trace.steps[:2]:
        read.clear()
        writer.generate_many([start_of(model, trace, step.token_end, 0)], stop=read.append)
        assert {text.startswith("<think>") for text in read} == {step.index == 0}


# -- rounds, budget, kept rollouts ------------------------------------------------------------------------------


def ran(model, trace, steps=(1, 0, 2), rollouts=24, seed=0, progress=quiet, **options):
    return causal.test_steps(model, trace, steps, rollouts, seed, None, progress, similarity=WORDS, **options)


class Memory:
    """Kept rows in memory; counts what is put."""

    def __init__(self):
        self.rows, self.puts = {}, []

    def get(self, key):
        return self.rows.get(key)

    def put(self, key, tokens):
        self.puts.append(key)
        self.rows[key] = tokens


def test_a_planted_choice_is_confirmed_early_and_the_others_draw_on_without_it(model, trace, drawn):
    choice, *others = ran(model, trace)
    assert (choice.stopped, choice.confirmed, choice.planned) == ("confirmed early", True, 24)
    assert choice.rollouts < 24
    assert choice.p_value <= choice.level
    assert all(test.stopped in ("futile", "all drawn") for test in others)
    # What each round draws: three starts twice at most, and only those of steps that go on.
    assert sum(drawn) == sum(2 * test.rollouts for test in (choice, *others))


def test_one_look_draws_all(model, trace, drawn):
    assert [(test.rollouts, test.stopped) for test in ran(model, trace, most_looks=1)] == [(24, "all drawn")] * 3
    assert len(drawn) == 1


def test_the_budget_counts_real_tokens_and_the_first_steps_go_first(model, trace):
    def cost(tests):
        made = sum(test.rollouts for test in tests)
        return made, [test.step for test in tests], [test.stopped for test in tests]

    whole = cost(ran(model, trace, most_looks=1))
    assert cost(ran(model, trace, most_looks=1, budget=10**6)) == whole
    worst = 24 * 2 * 3 * 48  # the least that a resample may write, for all rows: more than the stand-in writes
    made, steps, stopped = cost(ran(model, trace, budget=worst // 4))
    assert 0 < made < whole[0]
    assert steps[0] == 1
    assert "budget" in stopped
    assert ran(model, trace, budget=1) == []
    with pytest.raises(ValueError, match="budget is 0 tokens"):
        ran(model, trace, budget=0)


@pytest.mark.parametrize("step", [-1, 4])
def test_a_step_that_is_not_there_is_refused(model, trace, step):
    with pytest.raises(ValueError, match=f"steps has {step}; the chain has 4 steps, numbered from 0"):
        ran(model, trace, steps=(0, step))


@pytest.mark.parametrize("budget", [500, 1500, 4000, 9000])
def test_no_more_tokens_are_drawn_than_the_budget(model, trace, monkeypatch, budget):
    tokens, write = [], model.generate_many

    def counted(starts, **options):
        made = write(starts, **options)
        tokens.extend(len(row) for group in made for row in group)
        return made

    monkeypatch.setattr(model, "generate_many", counted)
    ran(model, trace, budget=budget)
    assert sum(tokens) <= budget


def test_tokens_that_are_no_words_are_spent_as_well(trace, monkeypatch):
    """A row of line breaks is as long as it may be; one that only ends its turn has one token. Kept ones count."""
    writer = LanguageModel(*parts(), "tiny")
    break_id, end_id = writer.encode("\n")[0], min(writer.end_ids)
    start = trace.steps[1].token_start
    for only, length in ((break_id, start_of(writer, trace, start, 0).sampling.max_new_tokens), (end_id, 1)):
        monkeypatch.setattr(writer, "guide", lambda options, only=only: lambda ids: [only])
        kept = Memory()
        for _ in range(2):
            rows = Resamples(writer, trace, 0, kept=kept)
            rows.draw({start: 2}, lambda share: None)
            assert rows.spent == 2 * length
        assert len(kept.puts) == 2


def test_what_was_kept_is_not_drawn_again(model, trace, drawn):
    kept = Memory()
    first = ran(model, trace, kept=kept)
    total = sum(drawn)
    assert len(kept.rows) == len(kept.puts) == total
    assert ran(model, trace, kept=kept) == first
    assert sum(drawn) == total
    ran(model, trace, seed=1, kept=kept)
    assert sum(drawn) > total  # another seed, other rows


def test_after_an_interruption_only_what_is_missing_is_drawn(model, trace, drawn):
    whole = ran(model, trace)
    total, kept = sum(drawn), Memory()
    drawn.clear()

    def interrupted(stage, share):
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ran(model, trace, kept=kept, progress=interrupted)
    done = len(kept.rows)
    assert 0 < done < total
    drawn.clear()
    assert ran(model, trace, kept=kept) == whole
    assert sum(drawn) == total - done


def test_each_batch_is_kept_as_soon_as_it_is_written(trace):
    """With the real loop of rollouts: an interruption costs no more than the batch at hand."""
    writer, kept = LanguageModel(*parts(), "tiny"), Memory()
    found = []
    inversion = invert(writer, trace)

    def watch(stage, share):
        found.append(len(kept.rows))
        if len(kept.rows) >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        causal.test_steps(
            writer, trace, [0, 1, 2], 20, 1, inversion, watch, similarity=WORDS, most_looks=1, kept=kept
        )
    assert len(kept.rows) == 32  # one batch of 120 rows


def test_a_disk_that_is_full_costs_the_kept_rows_and_not_the_test(model, trace, tmp_path, caplog):
    (tmp_path / "file").touch()
    kept = KeptFile(tmp_path / "file" / "kept.jsonl")  # no folder can be made there
    assert ran(model, trace, kept=kept) == ran(model, trace)
    assert [str(kept.path) in message for message in caplog.messages] == [True]


def test_rows_of_another_model_are_not_taken(model, trace):
    kept = Memory()
    ran(model, trace, kept=kept)
    before = set(kept.rows)
    model.revision = "other"
    ran(model, trace, kept=kept)
    assert len(kept.rows) == 2 * len(before)


def test_all_replacements_of_a_round_are_embedded_in_one_batch(model, trace):
    asked = []

    class Counting(Words):
        def embed(self, texts):
            asked.append(len(texts))
            return super().embed(texts)

    causal.test_steps(model, trace, [0, 1, 2], 6, 0, None, quiet, similarity=Counting(), most_looks=1)
    assert len(asked) == 1
    assert asked[0] > 3
