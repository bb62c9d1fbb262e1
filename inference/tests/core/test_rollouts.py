"""Rollouts in one ragged batch, against each start on its own."""

from contextlib import contextmanager

import pytest
import torch
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.cache_utils import DynamicCache

from inference.core import attention, ragged
from inference.core.cache import PrefixCache
from inference.core.decode import Sampling, decode
from inference.core.language_model import LanguageModel
from inference.core.rollouts import RolloutMemoryError, Start, in_batches, roll
from inference.tests.standin import parts

PREFIX = tuple(range(20, 70))
LENGTHS = (50, 3, 31, 1, 31)  # of the starts: the whole prefix, two alike, and one with nothing before its token


@contextmanager
def watching(module, watch):
    """Call `watch(rows, tokens known)` before each pass. Tests share the module, so the hook has to go."""

    def told(module, given, options):
        watch(len(options["input_ids"]), options["past_key_values"].get_seq_length())

    hook = module.register_forward_pre_hook(told, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def going_on(ids):
    return False


@pytest.fixture
def tiny():
    """A Llama with grouped key heads (4 heads on 2)."""
    return LanguageModel(*parts(), "tiny")


def prefix_of(module, ids=PREFIX):
    cache = DynamicCache(config=module.config)
    with torch.no_grad():
        module(torch.tensor([ids]), past_key_values=cache, use_cache=True)
    return PrefixCache(ids, cache)


def starts(tokens=12, lengths=LENGTHS, **sampling):
    """Each with a seed of its own."""
    return [Start(PREFIX[:n], Sampling(tokens, seed=at, **sampling)) for at, n in enumerate(lengths)]


def alone(module, start, rows, finished=going_on):
    """The same rows from the full text, without prefix or other starts."""
    return decode(module, start.ids, rows=rows, sampling=start.sampling, finished=finished)


def ids(made):
    return [[row.ids for row in group] for group in made]


def together(module, where, rows, **options):
    if "prefix" not in options:
        options["prefix"] = prefix_of(module)
    return roll(module, where, rows=rows, **{"finished": going_on} | options)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_each_row_is_what_its_start_gives_alone(tiny, temperature):
    where = starts(temperature=temperature, top_p=0.9)
    made = together(tiny.module, where, 3)
    lone = [alone(tiny.module, start, 3) for start in where]
    assert ids(made) == ids(lone)
    assert (len({tuple(row) for group in ids(made) for row in group}) > len(where)) == bool(temperature)
    for group, expected in zip(made, lone, strict=True):
        for row, other in zip(group, expected, strict=True):
            assert row.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert row.entropies == pytest.approx(other.entropies, abs=1e-4)


def test_greedy_rows_are_what_transformers_writes(tiny):
    made = together(tiny.module, starts(), 1)
    for length, (row,) in zip(LENGTHS, made, strict=True):
        prompt = torch.tensor([PREFIX[:length]])
        theirs = tiny.module.generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=None)
        assert row.ids == theirs[0, length:].tolist()


def test_more_tokens_than_there_was_room_for(tiny):
    where = starts(tokens=2 * ragged.ROOM + 5, temperature=1.0)
    assert ids(together(tiny.module, where, 2)) == ids([alone(tiny.module, start, 2) for start in where])


def test_what_a_row_may_not_see_of_the_prefix_changes_nothing(tiny):
    prefix, where = prefix_of(tiny.module), starts(temperature=1.0, lengths=(31, 3, 20))
    before = ids(together(tiny.module, where, 2, prefix=prefix))
    for layer in prefix.cache.layers:
        layer.keys[:, :, 30:], layer.values[:, :, 30:] = 1e4, 1e4
    assert ids(together(tiny.module, where, 2, prefix=prefix)) == before
    assert ids(together(tiny.module, starts(temperature=1.0, lengths=(32,)), 2, prefix=prefix)) != before[:1]


def test_finished_rows_leave_and_others_go_on_as_before(tiny):
    where = starts(temperature=1.0, lengths=(50, 3, 31))
    full = [alone(tiny.module, start, 2) for start in where]
    sizes = (2, 12, 7)
    stops = {tuple(row.ids[:size]) for group, size in zip(full, sizes, strict=True) for row in group}
    widths, prefix = [], prefix_of(tiny.module)
    with watching(tiny.module, lambda rows, known: widths.append((rows, known))):
        made = together(tiny.module, where, 2, finished=lambda new: tuple(new) in stops, prefix=prefix)
    assert ids(made) == [[row.ids[:size] for row in group] for group, size in zip(full, sizes, strict=True)]
    assert [rows for rows, _ in widths] == [6] * 2 + [4] * 5 + [2] * 5
    assert [known for _, known in widths] == list(range(12))


def test_rows_that_are_kept_see_no_more_of_the_prefix_than_they_need(tiny):
    rows = ragged.SharedRows(tiny.module, prefix_of(tiny.module), [49, 2, 30])
    rows.read([1, 2, 3])
    rows.keep([2, 1])
    assert rows.hidden.shape == (2, 30)
    assert rows.hidden.sum(1).tolist() == [0, 28]


def test_rows_that_leave_one_by_one(tiny):
    """With room used up in between."""
    where = starts(tokens=2 * ragged.ROOM + 5, temperature=1.0)
    full = [alone(tiny.module, start, 3) for start in where]
    sizes = iter([70, 2, 133, 9, 9, 64, 65, 1, 130, 40, 3, 128, 100, 20, 66])
    cut = [[row.ids[: next(sizes)] for row in group] for group in full]
    stops = {tuple(row) for group in cut for row in group}
    assert len(stops) == 15
    assert ids(together(tiny.module, where, 3, finished=lambda new: tuple(new) in stops)) == cut


def test_each_start_has_a_length_of_its_own(tiny):
    where = [Start(PREFIX[:40], Sampling(3)), Start(PREFIX[:20], Sampling(9))]
    assert [len(row.ids) for group in together(tiny.module, where, 2) for row in group] == [3, 3, 9, 9]


@pytest.mark.parametrize("max_rows", [1, 4, 7])
def test_the_size_of_the_batches_changes_no_text(tiny, max_rows):
    where, prefix, sizes = starts(temperature=1.0), prefix_of(tiny.module), []
    with watching(tiny.module, lambda rows, known: sizes.append(rows)):
        made = together(tiny.module, where, 3, max_rows=max_rows, prefix=prefix)
    assert max(sizes) <= max_rows
    assert ids(made) == ids([alone(tiny.module, start, 3) for start in where])


def test_the_prefix_is_not_changed(tiny):
    prefix = prefix_of(tiny.module)
    before = [layer.keys.clone() for layer in prefix.cache.layers]
    together(tiny.module, starts(), 2, prefix=prefix)
    assert all(torch.equal(layer.keys, keys) for layer, keys in zip(prefix.cache.layers, before, strict=True))


def sliding():
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 100}
    config = MistralConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, sliding_window=20)
    return MistralForCausalLM(config)


def learned_positions():
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=100, n_positions=200))


def narrow_values():
    """Multi-head latent attention, whose values are not as wide as its keys."""
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 100}
    latent = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "first_k_dense_replace": 2}
    return DeepseekV3ForCausalLM(DeepseekV3Config(**sizes, **latent, **heads))


@pytest.mark.parametrize(("make", "one_batch"), [(sliding, False), (learned_positions, True), (narrow_values, False)])
def test_other_architectures(make, one_batch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = make().eval()
    attention.install(module)
    prefix, where = prefix_of(module), starts(temperature=1.0)
    assert ragged.can_share(module, prefix, [start.ids for start in where]) is one_batch
    assert ids(together(module, where, 3, prefix=prefix)) == ids([alone(module, start, 3) for start in where])


@pytest.mark.parametrize("prefix_ids", [None, PREFIX[:30], (1, *PREFIX)])
def test_a_prefix_that_does_not_hold_all_starts_leaves_each_on_its_own(tiny, prefix_ids):
    prefix = prefix_of(tiny.module, prefix_ids) if prefix_ids else None
    where = starts(temperature=1.0)
    assert not ragged.can_share(tiny.module, prefix, [start.ids for start in where])
    made = together(tiny.module, where, 2, prefix=prefix)
    assert ids(made) == ids([alone(tiny.module, start, 2) for start in where])


def memory_for(module, most):
    """The module has memory for no more than `most` rows."""

    def measured(rows, known):
        if rows > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return watching(module, measured)


def test_out_of_memory_halves_the_batch_and_changes_no_text(tiny):
    prefix, where = prefix_of(tiny.module), starts(temperature=1.0)
    expected = ids([alone(tiny.module, start, 3) for start in where])
    with memory_for(tiny.module, 4):
        assert ids(together(tiny.module, where, 3, prefix=prefix)) == expected


def test_no_memory_for_one_row_is_said_so(tiny):
    prefix = prefix_of(tiny.module)
    with memory_for(tiny.module, 0), pytest.raises(RolloutMemoryError, match="Not even one rollout fits"):
        together(tiny.module, starts(), 3, prefix=prefix)


def test_halved_batches_stay_halved():
    asked = []

    def write(batch, tick):
        asked.append(len(batch))
        return list(batch) if len(batch) <= 3 else None

    places = [(0, row) for row in range(10)]
    made = in_batches(places, write, 8, True, lambda share: None)
    assert made == {place: place for place in places}
    assert asked == [8, 4, 2, 2, 2, 2, 2]


def test_progress_grows_over_all_batches(tiny):
    shares = []
    together(tiny.module, starts(), 3, max_rows=4, tick=shares.append)
    assert shares == sorted(shares)
    assert len(shares) >= 4
    assert 0 < shares[0] < shares[-1] <= 1


def test_rows_can_be_asked_for_by_number_and_are_told_as_soon_as_they_are_written(tiny):
    """Each is what it is among all the rows of its start."""
    where, prefix, seen = starts(temperature=1.0), prefix_of(tiny.module), []
    whole = ids(together(tiny.module, where, 4, prefix=prefix))
    wanted = [[2], [], [0, 3], [1], [3, 1]]
    with watching(tiny.module, lambda rows, known: seen.append(None)):
        some = together(tiny.module, where, wanted, prefix=prefix, max_rows=2, done=lambda *told: seen.append(told))
    assert ids(some) == [[whole[at][row] for row in numbers] for at, numbers in enumerate(wanted)]
    told = [one for one in seen if one]
    assert [place for place, _ in told] == [(at, row) for at, numbers in enumerate(wanted) for row in numbers]
    assert all(row.ids == whole[at][number] for (at, number), row in told)
    assert seen.index(told[0]) < max(at for at, one in enumerate(seen) if one is None)  # not at the end only


def test_stopping_is_possible_while_writing(tiny):
    def tick(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(tiny.module, starts(), 2, tick=tick)


@pytest.mark.parametrize(
    ("where", "options", "message"),
    [
        (starts(), {"rows": 0}, "rows is 0"),
        (starts(), {"rows": [[0]]}, "1 lists for 5 starts"),
        (starts(), {"rows": [[0, 1, 0]] * 5}, "named twice"),
        (starts(), {"max_rows": 0}, "max_rows is 0"),
        (starts(lengths=(5, 0)), {}, "needs a token before it"),
        ([*starts(), *starts(temperature=1.0)], {}, "all starts of one call have the same"),
    ],
)
def test_settings_that_cannot_be(tiny, where, options, message):
    with pytest.raises(ValueError, match=message):
        roll(tiny.module, where, **{"rows": 1, "finished": going_on} | options)


def test_no_starts_give_nothing(tiny):
    assert tiny.generate_many([], rows=4) == []


def test_generate_many_is_generate_for_each(tiny):
    """With a stop, with options behind an answer cue, and with the tokens' text."""
    chain = tiny.encode("Step 1: cats\nAnswer:")
    where = [Start(chain[:n], Sampling(20, 1.0, seed=n)) for n in (3, len(chain))]
    shared = {"rows": 4, "stop": lambda text: len(text) > 15, "options": ("Black", "White")}
    made = tiny.generate_many(where, prefix=prefix_of(tiny.module, chain), **shared)
    for start, group in zip(where, made, strict=True):
        for tokens, other in zip(group, tiny.generate(start.ids, start.sampling, **shared), strict=True):
            assert [(token.id, token.text) for token in tokens] == [(token.id, token.text) for token in other]


@pytest.mark.model
def test_greedy_continuations_of_the_real_model(model_folder):
    real = LanguageModel.load(model_folder)
    text = "Three bags hold four apples each, and six more lie on the table. First count the apples in the bags. "
    _, prompt = real.encode_chat([{"role": "user", "content": text}])
    whole = (*prompt, *real.encode("Step 1: Each bag holds 4 apples.\nStep 2: 3 * 4 = 12 apples are in the bags.\n"))
    where = [Start(whole[:n], Sampling(24)) for n in (len(prompt), len(prompt) + 7, len(whole) - 4, len(whole))]
    made = real.generate_many(where, rows=2, prefix=prefix_of(real.module, whole))
    for start, group in zip(where, made, strict=True):
        (expected,) = real.generate(start.ids, start.sampling)
        assert [[token.id for token in tokens] for tokens in group] == [[token.id for token in expected]] * 2
