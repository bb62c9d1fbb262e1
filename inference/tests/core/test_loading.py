"""Where a model comes from: its revision, its device, its chat template."""

import copy
import re
import shutil

import pytest
from tokenizers.processors import TemplateProcessing

from inference.core import LanguageModel, Sampling, Start, WeightsError, head_config
from inference.core.chat import DATE, PLAIN_TEMPLATE
from inference.core.kept import row_keys
from inference.core.language_model import LOADING_ERRORS
from inference.core.provenance import provenance
from inference.tests.standin import CHAT, parts

USER = {"role": "user", "content": "One?"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(model, tmp_path, monkeypatch):
    """What a machine without a connection has of the hub: one model with the branch main and the tag v1."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--some--tiny"
    (folder / "refs").mkdir(parents=True)
    for name in ("main", "v1"):
        (folder / "refs" / name).write_text(COMMIT)
    for part in (model.module, model.tokenizer):
        part.save_pretrained(folder / "snapshots" / COMMIT)


@pytest.mark.parametrize("revision", ["", "main", "v1", COMMIT])
def test_a_hub_name_loads_at_its_revision_and_says_which_commit_that_is(hub, revision):
    model = LanguageModel.load("some/tiny", revision)
    assert (model.name, model.revision, model.commit) == ("some/tiny", revision, COMMIT)
    assert provenance(model)["commit"] == COMMIT


@pytest.mark.parametrize(("name", "revision"), [("some/tiny", "v2"), ("some/tiny", "f" * 40), ("some/none", "main")])
def test_what_the_hub_does_not_have_is_named_with_its_revision(hub, name, revision):
    with pytest.raises(WeightsError, match=f"{name} in revision '{revision}' is neither on the hub") as error:
        LanguageModel.load(name, revision)
    assert "a branch, tag or commit that it has" in str(error.value)
    assert isinstance(error.value, LOADING_ERRORS)


def test_a_folder_has_no_revision(model, tmp_path):
    for part in (model.module, model.tokenizer):
        part.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"revision is 'v1', but .* is a folder, which has none\. Leave it out"):
        LanguageModel.load(tmp_path, "v1")
    assert LanguageModel.load(tmp_path, dtype="bfloat16").dtype_name == "bfloat16"


def test_two_models_of_one_name_are_told_apart_by_their_weights(model, tmp_path):
    model.tokenizer.save_pretrained(tmp_path / "one" / "tiny")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    module = copy.deepcopy(parts()[0])
    module.save_pretrained(tmp_path / "one" / "tiny")
    one = LanguageModel.load(tmp_path / "one" / "tiny")
    module.model.norm.weight[::8] += 0.01  # as little as training may change
    module.save_pretrained(tmp_path / "other" / "tiny")
    other = LanguageModel.load(tmp_path / "other" / "tiny")
    assert one.name == other.name
    assert one.weights != other.weights
    assert one.weights == LanguageModel.load(tmp_path / "one" / "tiny", dtype="bfloat16").weights
    start = Start((1, 2), Sampling(4))
    assert row_keys(one, start, (), [0]) != row_keys(other, start, (), [0])
    assert head_config(one).differences(head_config(other)) == [f"weights {one.weights!r}, not {other.weights!r}"]


def test_a_gguf_is_resolved_first():
    with pytest.raises(
        ValueError, match=r"some\.gguf is a GGUF file; load what resolve\('some\.gguf', …\) makes of it"
    ):
        LanguageModel.load("some.gguf")


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cuda", "which is not on this machine; it has cpu. Name one of these."),
        ("cuda:1", "which is not on this machine"),
        ("mps", "which is not on this machine"),
        ("gpu", "which is no device; it has cpu"),
        ("", "which is no device"),
    ],
)
def test_a_device_that_is_not_here_is_refused_before_anything_is_read(monkeypatch, device, why):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ValueError, match=f"device is '{device}', {why}"):
        LanguageModel.load("there is no such folder", device=device)


def test_the_cards_that_are_here_can_be_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device is 'cuda:2', .*it has cpu, cuda, cuda:0, cuda:1"):
        LanguageModel.load("there is no such folder", device="cuda:2")


REFUSES = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('no turns') }}{% endif %}{% endfor %}"
)
WANTS_SYSTEM = "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}"
LAST_ONLY = "{{ messages[-1].content }}"
WITHOUT_ASSISTANT = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, "it brings none"),
        ("", "it brings none"),
        (REFUSES, "its own does not take earlier turns without a system turn: no turns"),
        (WANTS_SYSTEM, "its own does not take earlier turns without a system turn: no system"),
        ("{% for %}", "its own does not take earlier turns"),
        ({"rag": CHAT}, "its own does not take earlier turns.*no default"),
        (LAST_ONLY, "its own leaves out an earlier turn of the user"),
        (WITHOUT_ASSISTANT, "its own leaves out an earlier turn of the assistant"),
    ],
)
def test_a_template_that_does_not_take_our_turns_gives_way_to_plain_text(template, why):
    module, tokenizer = parts()[0], copy.deepcopy(parts()[1])
    tokenizer.chat_template = template
    model = LanguageModel(module, tokenizer, "odd")
    assert model.template == PLAIN_TEMPLATE
    assert provenance(model)["prompt"].startswith("plain, as ")
    assert re.search(why, model.plain)


def test_a_plain_prompt_begins_as_the_tokenizer_begins_every_text():
    """Base models of the kind of Llama have never seen a text without their first token."""
    module, tokenizer = parts()[0], copy.deepcopy(parts()[1])
    tokenizer.chat_template, tokenizer.bos_token = None, "<|im_start|>"
    assert not LanguageModel(module, tokenizer, "base").encode_chat([USER])[0].startswith("<|im_start|>")
    first = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        "<|im_start|> $A", None, [("<|im_start|>", first)]
    )
    prompt, ids = LanguageModel(module, tokenizer, "base").encode_chat([USER])
    assert prompt == "<|im_start|>User: One?\n\nAssistant: "
    assert (ids[0], ids.count(first)) == (first, 1)


def test_the_models_own_template_is_kept(model):
    assert (model.plain, model.template) == ("", CHAT)
    assert provenance(model)["prompt"] == "chat template"


TODAY = '{%- set today = strftime_now("%d %b %Y") -%}Today is {{ today }}.\n' + CHAT
TODAY_IF_KNOWN = (
    '{%- if strftime_now is defined -%}Today is {{ strftime_now("%d %b %Y") }}.{{ "\n" }}{%- endif -%}' + CHAT
)


@pytest.mark.parametrize("template", [TODAY, TODAY_IF_KNOWN, {"default": TODAY, "tool_use": CHAT}])
def test_a_template_that_asks_for_the_date_gets_the_same_one_every_day(template):
    module, tokenizer = parts()[0], copy.deepcopy(parts()[1])
    tokenizer.chat_template = template
    model = LanguageModel(module, tokenizer, "dated")
    prompt, _ = model.encode_chat([USER])
    assert prompt.startswith(f"Today is {DATE}.\n<|im_start|>user\nOne?<|im_end|>")
    assert provenance(model)["prompt"] == f"chat template, dated {DATE}"
