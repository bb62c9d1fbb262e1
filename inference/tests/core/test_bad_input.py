"""What the engine is given and cannot use: it says what that was, what is allowed and what to do."""

import copy
import re
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from transformers import AutoConfig, AutoModelForCausalLM

from inference.core import (
    AttentionError,
    ContextError,
    DeviceMemoryError,
    Head,
    LanguageModel,
    NumbersError,
    Problem,
    ReasoningError,
    ReasonSettings,
    RolloutMemoryError,
    Start,
    WeightsError,
    answer_trajectory,
    contrastive_flow,
    direct_suppression,
    explain_inverse,
    explained,
    explanation_features,
    full_suppression,
    gradient_times_input,
    head_config,
    invert,
    reason,
    resolve,
    self_explain,
)
from inference.core.chat import PLAIN_TEMPLATE
from inference.core.decode import Sampling
from inference.core.features import readable
from inference.core.language_model import LOADING_ERRORS
from inference.core.problem_files import ParsedProblem
from inference.core.recipe import Recipe
from inference.core.resampling import SHORTEST, start_of
from inference.tests.core.conftest import PROBLEM, UNDECIDED
from inference.tests.standin import parts

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 700,
    "pad_token_id": 0,
}


PROBES = {
    answer_trajectory: "asking for the answer after each step",
    direct_suppression: "hiding the steps from the answer",
    full_suppression: "hiding the steps from what follows",
    gradient_times_input: "the gradient of the answer",
    lambda model, trace: contrastive_flow(model, trace, trace.problem.options[1 - trace.answer.index]): "contrast",
    lambda model, trace: explanation_features(model, trace, ["It is so."]): "reading the explanations",
}


def writes(model, text):
    return lambda *args, **options: [model.spelled(text, Sampling(999))]


def out_of_memory(*args, **options):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def own():
    """A tiny model of the test's own that decodes by itself, whose weights and configuration may be spoilt."""
    module, tokenizer = parts()
    return LanguageModel(copy.deepcopy(module), tokenizer, "tiny")


# -- what the model writes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " \n\n "])
def test_an_empty_chain_says_what_to_do(model, text):
    model.generate = writes(model, text)
    with pytest.raises(ReasoningError, match=r"wrote nothing. Try another seed"):
        reason(model, PROBLEM, ReasonSettings())


def test_a_chain_without_an_answer_names_the_options_and_the_room_it_had(model):
    model.generate = writes(model, "Step 1: Cats are animals.\nStep 2: They have")
    with pytest.raises(ReasoningError) as error:
        reason(model, UNDECIDED, ReasonSettings(max_new_tokens=70))
    assert "Step 2: They have" in str(error.value)
    assert "'0', '7', '9'" in str(error.value)
    assert "states none, in at most 70 tokens. Try another seed, or more tokens." in str(error.value)
    assert re.search(r"Nor has one of them 50% .*behind “Answer:”: '0' \d+%, '7' \d+%, '9' \d+%\.", str(error.value))


def test_an_answer_outside_the_options_is_named(model):
    model.generate = writes(model, "Step 1: Cats.\nAnswer: purple")
    with pytest.raises(ReasoningError, match=r"states 'purple', which names none of them alone\. Try another seed"):
        reason(model, UNDECIDED, ReasonSettings())


@pytest.mark.parametrize(
    ("asks", "text", "why"),
    [
        ("number", "Step 1: It has", "No number can be read .* it states none"),
        ("number", "Step 1: Lives.\nAnswer: 7 or 9", "it states '7 or 9', which is not one number"),
        ("number", "Step 1: Lives.\nAnswer: many", "it states 'many', which is not one number"),
        ("free", "Step 1: It has", "No answer can be read .* it states none"),
        ("free", "Step 1: Lives.\nAnswer: ...", "it states '...', which is not one answer"),
    ],
)
def test_a_chain_without_the_number_or_text_that_is_asked_for_says_what_it_states(model, asks, text, why):
    model.generate = writes(model, text)
    with pytest.raises(ReasoningError, match=why):
        reason(model, Problem("How many lives has Milo?", asks=asks), ReasonSettings())


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"options": ("7",)}, "a choice has 1 options; give at least 2"),
        ({}, "a choice has 0 options"),
        ({"options": ("7", "9"), "asks": "number"}, "asks for 'number' has 2 options; give none"),
        ({"asks": "essay"}, "asks is 'essay'; allowed are choice, number, free"),
        ({"options": ("7", "9", "7")}, "option 3 is '7'; an option has words, and none is there twice"),
        ({"options": ("7", " ")}, "option 2 is ' '"),
    ],
)
def test_a_problem_has_the_options_that_it_asks_for(given, what):
    with pytest.raises(ValueError, match=what):
        Problem("How many lives has Milo?", **given)


@pytest.mark.parametrize("text", ["Answer: Black", "Step 1: Milo is one of them.\nAnswer: Black"])
def test_a_chain_of_one_step_is_explained(model, text):
    """The line that states the answer is no choice: alone it leaves nothing to test, and the explanation says so."""
    model.generate = writes(model, text)
    trace = reason(model, PROBLEM, ReasonSettings())
    del model.generate
    made = explain_inverse(model, trace, Head(head_config(model)))
    assert len(made.record.tests) == len(trace.steps) - 1
    said = ["none of its steps was tested" in one.text for one in made.candidates]
    assert any(said) == (len(trace.steps) == 1)
    assert "The model answered “Black”" in made.candidates[0].text


# -- the model's context -------------------------------------------------------------------------------------------


def test_a_prompt_beyond_the_context_says_by_how_much(model):
    long = replace(PROBLEM, question="Why? " * 4000)
    needed = len(model.encode_chat([{"role": "user", "content": long.question}])[1])
    assert needed > 4096
    with pytest.raises(ContextError, match=r"\d+ more than the model's context of 4096 tokens") as error:
        reason(model, long, ReasonSettings())
    assert "shorter question" in str(error.value)
    assert "new tokens, or" not in str(error.value)  # no number of new tokens would help


def test_prompt_and_chain_fit_to_the_token(own):
    prompt = len(own.encode("What is this?"))
    own.module.config.max_position_embeddings = prompt + 5
    assert len(own.generate(own.encode("What is this?"), Sampling(5), stop=lambda text: False)) == 1
    with pytest.raises(
        ContextError, match=rf"{prompt} tokens and up to 6 new ones are 1 more .* at most 5 new tokens"
    ):
        own.generate(own.encode("What is this?"), Sampling(6))
    with pytest.raises(ContextError, match="are 1 more"):
        own.generate_many([Start(own.encode("What is this?"), Sampling(6))])


def test_a_stored_chain_beyond_the_context_is_not_inverted(model, trace, monkeypatch):
    length = len(trace.prompt_ids) + len(trace.tokens)
    monkeypatch.setattr(model.module.config, "max_position_embeddings", length)
    invert(model, trace)
    monkeypatch.setattr(model.module.config, "max_position_embeddings", length - 7)
    with pytest.raises(ContextError, match=f"{length} tokens are 7 more than the model's context of {length - 7}"):
        invert(model, trace)


@pytest.mark.parametrize(
    "probe", [answer_trajectory, lambda model, trace: explanation_features(model, trace, ["It."])]
)
def test_what_is_read_behind_a_chain_fits_into_the_context_too(model, trace, monkeypatch, probe):
    probe(model, trace)
    monkeypatch.setattr(model.module.config, "max_position_embeddings", 9)
    with pytest.raises(ContextError, match=r"\d+ more than the model's context of 9 tokens"):
        probe(model, trace)


def test_a_resample_ends_where_the_context_does(model, trace, monkeypatch):
    """A chain that fits to the token can be tested: no resample gets more room than there is."""
    length = len(trace.prompt_ids) + len(trace.tokens)
    assert start_of(model, trace, len(trace.tokens) - 3, seed=0).sampling.max_new_tokens == SHORTEST
    monkeypatch.setattr(model.module.config, "max_position_embeddings", length)
    assert start_of(model, trace, len(trace.tokens) - 3, seed=0).sampling.max_new_tokens == 3


def test_a_text_beyond_the_context_is_no_candidate(model, trace, head, monkeypatch):
    """The head cannot read it whole, and reads none in part."""
    whole = explain_inverse(model, trace, head)
    monkeypatch.setattr("inference.core.inverse.readable", lambda model, trace, text: len(text) < longest)
    longest = max(len(one.text) for one in whole.candidates)
    made = explain_inverse(model, trace, head)
    assert set(made.candidates) < set(whole.candidates)
    assert all(len(one.text) < longest for one in made.candidates)
    assert len(made.candidate_features) == len(made.candidates)


def test_readable_is_what_the_features_take(model, trace, monkeypatch):
    text = "It is so. " * 9
    for most in range(40, 90):
        monkeypatch.setattr(model.module.config, "max_position_embeddings", most)
        if readable(model, trace, text):
            assert explanation_features(model, trace, [text]).isfinite().all()
            break
        with pytest.raises(ContextError, match="Use a shorter explanation 0"):
            explanation_features(model, trace, [text])
    assert 40 < most < 89


def test_a_trace_of_another_model_is_told_by_tokens_that_this_one_lacks(trace):
    module = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES | {"vocab_size": 50}))
    other = LanguageModel(module, parts()[1], "other")
    with pytest.raises(ValueError, match=r"the trace has token \d+, but other has 50: another model wrote it"):
        invert(other, trace)


# -- the model itself ----------------------------------------------------------------------------------------------


def test_a_model_without_a_chat_template_gets_a_plain_one():
    module, tokenizer = copy.deepcopy(parts())
    tokenizer.chat_template = None
    model = LanguageModel(module, tokenizer, "base")
    prompt, ids = model.encode_chat([{"role": "user", "content": "What is 3 + 4?"}])
    assert model.template == PLAIN_TEMPLATE
    assert tokenizer.chat_template is None  # it is the caller's
    assert prompt == "User: What is 3 + 4?\n\nAssistant: "
    assert model.decode(ids) == prompt


@pytest.mark.parametrize(
    ("kind", "sizes", "what"),
    [
        ("bloom", {}, "does not compute its attention as `sdpa` does"),
        ("mamba", {}, "does not compute its attention as `sdpa` does"),
        ("gemma2", {"head_dim": 4}, "does not compute its attention as `sdpa` does"),
        (
            "gpt_oss",  # sinks beside the keys, which sdpa would leave out without a word
            {"num_key_value_heads": 2, "head_dim": 4, "num_local_experts": 2, "num_experts_per_tok": 1},
            "does not compute its attention as `sdpa` does",
        ),
        ("falcon", {}, "has 2 layers, and the attention of 0 can be recorded"),
    ],
)
def test_a_model_whose_attention_cannot_be_recorded_is_refused(kind, sizes, what):
    module = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES, **sizes))
    with pytest.raises(AttentionError, match=f"{type(module).__name__} {what}.* Use a model whose class") as error:
        LanguageModel(module, parts()[1], kind)
    assert isinstance(error.value, LOADING_ERRORS)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "phi3", "gpt_neox"])
def test_models_with_the_common_attention_are_taken(kind):
    extra = {"opt": {"ffn_dim": 32, "word_embed_proj_dim": 16}}.get(kind, {})
    module = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES, **extra))
    assert LanguageModel(module, parts()[1], kind).layers == 2


def test_one_layer_that_is_not_recorded_is_enough_to_refuse():
    module = copy.deepcopy(parts()[0])
    layer = module.model.layers[1].self_attn
    layer.forward = lambda hidden_states, **options: (hidden_states, None)
    with pytest.raises(AttentionError, match="has 2 layers, and the attention of 1 can be recorded"):
        LanguageModel(module, parts()[1], "half")


def test_scores_that_are_no_numbers_end_the_writing(own):
    own.module.model.norm.weight[0] = float("nan")
    with pytest.raises(NumbersError, match=r"scores for the next token are not numbers.*in float32"):
        reason(own, PROBLEM, ReasonSettings())
    with pytest.raises(NumbersError, match="scores for the next token"):
        own.generate_many([Start(own.encode("What is this?"), Sampling(4))])


@pytest.mark.parametrize("probe", PROBES)
def test_scores_that_are_no_numbers_are_no_probe(own, trace, probe):
    own.module.model.norm.weight[0] = float("nan")
    with pytest.raises(NumbersError, match=r"are not (all )?numbers"):
        probe(own, trace)


def test_a_word_that_can_never_come_is_no_bad_number(own):
    """Minus infinity is how models close a token; the entropy is still a number."""
    inner = own.module.forward

    def closing(*args, **options):
        output = inner(*args, **options)
        output.logits[..., 3] = float("-inf")
        return output

    own.module.forward = closing
    (tokens,) = own.generate(own.encode("What is this?"), Sampling(4))
    assert all(np.isfinite(token.entropy) for token in tokens)


def test_a_pass_that_computes_no_numbers_is_no_inversion(own, trace):
    own.module.model.layers[0].post_attention_layernorm.weight[0] = float("nan")
    with pytest.raises(NumbersError, match=r"hidden states are not all numbers.*load it again"):
        invert(own, trace)


# -- the device's memory -------------------------------------------------------------------------------------------


def test_too_little_memory_is_named(own, trace):
    own.module.forward = own.module.model.forward = out_of_memory
    with pytest.raises(DeviceMemoryError, match=r"too small for writing the chain: CUDA .* 2\.00 GiB.* Free memory"):
        reason(own, PROBLEM, ReasonSettings())
    with pytest.raises(DeviceMemoryError, match="too small for the pass over prompt and chain"):
        invert(own, trace)
    with pytest.raises(DeviceMemoryError, match="too small for the model's own explanation"):
        self_explain(own, trace)
    with pytest.raises(RolloutMemoryError):
        own.generate_many([Start(trace.prompt_ids, Sampling(4))])
    assert issubclass(RolloutMemoryError, DeviceMemoryError)


@pytest.mark.parametrize("probe", PROBES)
def test_too_little_memory_for_a_probe_is_named(own, trace, probe):
    own.module.forward = own.module.model.forward = out_of_memory
    with pytest.raises(DeviceMemoryError, match=f"too small for .*{PROBES[probe]}"):
        probe(own, trace)


def test_too_little_memory_in_the_middle_of_an_explanation_is_named(own, trace, monkeypatch):
    monkeypatch.setattr("inference.core.inverse.probed", out_of_memory)
    with pytest.raises(DeviceMemoryError, match="too small for explaining the chain"):
        explain_inverse(own, trace, Head(head_config(own)))


def test_other_errors_of_the_device_stay_what_they_are(own):
    def broken(*args, **options):
        raise RuntimeError("CUDA error: device-side assert triggered")

    own.module.model.forward = broken
    with pytest.raises(RuntimeError, match="device-side assert") as error:
        reason(own, PROBLEM, ReasonSettings())
    assert type(error.value) is RuntimeError


def test_a_problem_beyond_the_model_is_a_line_with_its_error(model):
    problem = ParsedProblem("p1", "commonsense", "Why? " * 4000, ("yes", "no"), None)
    line = explained(model, None, problem, Recipe(method="chain", model="stand-in"))
    assert "more than the model's context of 4096 tokens" in line["error"]
    assert (line["trace"], line["text"], line["evidence"]) == (None, None, None)


# -- weights -------------------------------------------------------------------------------------------------------


NAME = b"token_embd.weight"


def written(path, architecture):
    """A GGUF of one tensor, [4, 32] float32."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_tensor(NAME.decode(), np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def of_another_type(content):
    """With a number for the tensor's type that stands for none: it follows name, rank and the two sizes."""
    at = content.index(NAME) + len(NAME) + 4 + 2 * 8
    return content[:at] + struct.pack("<I", 250) + content[at + 4 :]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda content: b"PK\x03\x04" + content[4:], "GGUF magic invalid"),
        (lambda content: content[:-64], "reshape"),
        (lambda content: b"", "empty file"),
        (of_another_type, "250.* is not a valid GGMLQuantizationType"),
        (lambda content: content.replace(b"nonesuch", b"nowhere!"), "nowhere!"),
    ],
)
def test_a_gguf_that_cannot_be_read_is_refused_and_leaves_nothing(tmp_path, spoil, why):
    path = written(tmp_path / "odd.gguf", "nonesuch")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(WeightsError, match=rf"odd\.gguf cannot be read as a .*{why}.* Give a whole GGUF") as error:
        resolve(str(path), tmp_path / "var", lambda line: None)
    assert isinstance(error.value, LOADING_ERRORS)
    assert [one.suffix for one in (tmp_path / "var" / "models").iterdir()] == [".lock"]
