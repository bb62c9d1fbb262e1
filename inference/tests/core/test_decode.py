"""The decoding loop, against Transformers' own and against itself."""

import math

import pytest
import torch
from transformers.cache_utils import DynamicCache

from inference.core import ReasonSettings
from inference.core.cache import PrefixCache
from inference.core.decode import Sampling, decode, entropies_of, nucleus_choice
from inference.core.language_model import LanguageModel
from inference.tests.standin import parts

PROMPT = tuple(range(20, 60))


@pytest.fixture
def tiny():
    return LanguageModel(*parts(), "tiny")


def written(tiny, prompt=PROMPT, rows=1, prefix=None, **sampling):
    made = decode(
        tiny.module, prompt, rows=rows, sampling=Sampling(12, **sampling), finished=lambda ids: False, prefix=prefix
    )
    return [row.ids for row in made]


def prefix_of(tiny, ids):
    cache = DynamicCache(config=tiny.module.config)
    tiny.forward(ids, past_key_values=cache, use_cache=True)
    return PrefixCache(ids, cache)


def test_greedy_is_what_transformers_writes(tiny):
    theirs = tiny.module.generate(torch.tensor([PROMPT]), max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert written(tiny) == [theirs[0, len(PROMPT) :].tolist()]


def test_a_row_depends_on_its_seed_and_number_only(tiny):
    before = torch.random.get_rng_state()
    many = written(tiny, rows=5, temperature=1.0, seed=3)
    assert written(tiny, rows=2, temperature=1.0, seed=3) == many[:2]
    assert written(tiny, rows=5, temperature=1.0, seed=4) != many
    assert len({tuple(row) for row in many}) > 1
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("shared", [1, 25, 39, 40])
def test_a_shared_prefix_changes_nothing_and_is_not_changed(tiny, shared):
    prefix = prefix_of(tiny, (*PROMPT[:shared], 7, 8, 9))
    keys = prefix.cache.layers[0].keys.clone()
    assert written(tiny, rows=3, temperature=1.0, prefix=prefix) == written(tiny, rows=3, temperature=1.0)
    assert torch.equal(prefix.cache.layers[0].keys, keys)


def test_a_prefix_that_shares_nothing_is_left_alone(tiny):
    assert prefix_of(tiny, (1, 2, 3)).branch(PROMPT) is None


def test_finished_rows_leave_and_the_others_go_on_as_before(tiny):
    full = written(tiny, rows=4, temperature=1.0)
    stops = {tuple(row[:length]) for row, length in zip(full, (2, 12, 5, 9), strict=True)}
    made = decode(
        tiny.module,
        PROMPT,
        rows=4,
        sampling=Sampling(12, temperature=1.0),
        finished=lambda ids: tuple(ids) in stops,
    )
    assert [row.ids for row in made] == [row[:length] for row, length in zip(full, (2, 12, 5, 9), strict=True)]


def test_logprobs_and_entropies_are_the_models_own(tiny):
    (row,) = decode(
        tiny.module, PROMPT, rows=1, sampling=Sampling(6, temperature=0.5, top_p=0.8), finished=lambda ids: False
    )
    logits = tiny.module(torch.tensor([[*PROMPT, *row.ids]])).logits[0, len(PROMPT) - 1 : -1]
    logprobs = logits.log_softmax(-1)
    torch.testing.assert_close(torch.tensor(row.logprobs), logprobs[range(6), row.ids])
    torch.testing.assert_close(torch.tensor(row.entropies), -(logprobs.exp() * logprobs).sum(-1))


def test_the_nucleus_holds_the_likely_tokens_in_proportion():
    scores = torch.tensor([[0.1, 0.5, 0.05, 0.35]]).log()
    draws = (torch.arange(1000) + 0.5) / 1000
    chosen = nucleus_choice(scores.expand(1000, -1), 0.8, draws)
    counts = torch.bincount(chosen, minlength=4).tolist()
    assert counts == [0, 588, 0, 412]  # 0.5 and 0.35 of 0.85


def test_stopping_is_possible_while_writing(tiny):
    def tick(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.generate(PROMPT, Sampling(40), tick=tick)


@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_the_nucleus_is_the_same_however_many_tokens_are_looked_at_first(top_p, monkeypatch):
    """Flat rows, whose nucleus is most of the vocabulary, beside peaked ones."""
    drawn = torch.Generator().manual_seed(5)
    scores = torch.randn(40, 700, generator=drawn) * torch.linspace(0.1, 8, 40)[:, None]
    draws = torch.rand(40, generator=drawn)
    chosen = []
    for size in (2, 64, 700):
        monkeypatch.setattr("inference.core.decode.NUCLEUS", size)
        chosen.append(nucleus_choice(scores, top_p, draws).tolist())
    assert chosen[0] == chosen[1] == chosen[2]
    assert len(set(chosen[0])) > 10


NAN = float("nan")


@pytest.mark.parametrize("settings", [Sampling, ReasonSettings])
@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; give at least 1"),
        ({"temperature": -1.0}, "temperature is -1.0; allowed is 0"),
        ({"temperature": NAN}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_p": 0.0}, "top_p is 0.0; allowed is above 0, and at most 1"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"top_p": NAN}, "top_p is nan"),
        ({"seed": -1}, "seed is -1; allowed is 0"),
    ],
)
def test_settings_that_draw_nothing_or_nonsense_are_refused(settings, given, what):
    with pytest.raises(ValueError, match=what):
        settings(**given)


@pytest.mark.parametrize("top_p", [0.5, 0.95, 1.0])
def test_a_draw_that_is_rounded_to_one_stays_in_the_nucleus_and_within_the_guide(top_p):
    scores = torch.tensor([[0.6, 0.3, 0.1] + [1e-9] * 200]).log()
    guided = scores.masked_fill(torch.arange(203) > 2, float("-inf"))
    last = {0.5: 0, 0.95: 2, 1.0: 2}[top_p]
    assert nucleus_choice(guided, top_p, torch.tensor([1 - 1e-9])).tolist() == [last]
    if top_p < 1:
        assert nucleus_choice(scores, top_p, torch.tensor([1 - 1e-9])).tolist() == [last]


def test_tokens_that_cannot_come_add_nothing_to_the_entropy():
    logprobs = torch.tensor([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]]).log()
    torch.testing.assert_close(entropies_of(logprobs), torch.tensor([1.5 * math.log(2), 0.0]))
