"""The causal test of a step, on the stand-in's planted choice."""

from dataclasses import replace

from inference.core import LanguageModel, Problem, ReasonSettings, causal, invert, reason
from inference.core.similarity import Words
from inference.tests.standin import parts

MANY, WORDS = 40, Words()


def examined(model, trace, step, rollouts=MANY, seed=0):
    return causal.test_step(model, trace, step, rollouts, seed, invert(model, trace), quiet, WORDS)


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
        assert all(one.different > 15 / 5 for one in found)
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
        assert together == [
            causal.test_step(writer, trace, step, 5, 3, inversion, quiet, WORDS) for step in (2, 0, 1)
        ]
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
