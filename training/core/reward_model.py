"""Trains a whole reward model on the same pairs as the head, by TRL's `RewardTrainer`, and scores explanations by it.

The head is a linear layer on frozen features and fits in seconds. This is what to compare it with, on as many
machines as `accelerate` reaches: every weight is trained, or LoRA adapters (Hu et al. 2022), or, for comparison, only
a linear layer on the frozen last hidden state. Held-out problems are never trained on. The scores come back through
the same gate as a head's (training/outside.py). Needs the `reward` packages of pyproject.toml.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.core.features import Text, context
from inference.core.records import Progress
from training.core.data import held_out
from training.core.formats import Pair, PreferenceFile

FULL, LORA, FROZEN = "full", "lora", "frozen"
RATES = {FULL: 1e-5, LORA: 1e-4, FROZEN: 1e-3}
"""Learning rates by what is trained; the frozen one was best of 1e-4 to 3e-2 on held-out problems of COPA-SSE."""
SCORE_BATCH = 16

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """`model` is a folder or a hub name; `part` is full, lora or frozen; `steps` above 0 stops after so many."""

    model: str
    part: str = FULL
    epochs: float = 1.0
    steps: int = -1
    batch: int = 8
    rate: float = 0.0
    longest: int = 1024
    bf16: bool = True
    seed: int = 0

    @property
    def learning_rate(self) -> float:
        return self.rate or RATES[self.part]


def rows_of(file: PreferenceFile, testing: bool, split_ties: bool = False) -> list[Row]:
    """TRL's `prompt`, `chosen`, `rejected` of the pairs on training problems, or on held-out ones if `testing`.

    `length` lets the trainer put pairs of about the same length together.

    A tie is left out; with `split_ties` it stands there twice, once each way round, which pulls both scores together.
    """
    texts = {text.id: text for text in file.texts}
    rows = []
    for pair in file.pairs:
        if held_out(pair.problem) == testing:
            first, second = texts[pair.first_id], texts[pair.second_id]
            rows += [row_of(chosen, rejected) for chosen, rejected in ways(pair, first, second, split_ties)]
    return rows


def ways(pair: Pair, first: Text, second: Text, split_ties: bool) -> list[tuple[Text, Text]]:
    if pair.choice == "first":
        return [(first, second)]
    if pair.choice == "second":
        return [(second, first)]
    return [(first, second), (second, first)] if split_ties else []


def row_of(chosen: Text, rejected: Text) -> Row:
    return {
        "prompt": context(chosen),
        "chosen": f" {chosen.explanation.strip()}",
        "rejected": f" {rejected.explanation.strip()}",
        "length": len(chosen.explanation) + len(rejected.explanation),
    }


def trainer_of(settings: Settings, rows: Sequence[Row], folder: Path) -> Any:
    """TRL's trainer, ready to train; it writes into `folder` only when told to."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    tokenizer = tokenizer_of(settings.model)
    config = RewardConfig(
        str(folder),
        num_train_epochs=settings.epochs,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        max_length=settings.longest,
        bf16=settings.bf16,
        use_cpu=not torch.accelerator.is_available(),  # else bfloat16 is refused there
        gradient_checkpointing=settings.part != FROZEN,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,  # `length` would be gone before it is read; the collator leaves it out
        save_strategy="no",
        report_to="none",
        seed=settings.seed,
    )
    data = Dataset.from_list(list(rows))
    adapters = lora() if settings.part == LORA else None
    model = model_of(settings)
    return RewardTrainer(model, config, train_dataset=data, processing_class=tokenizer, peft_config=adapters)


def tokenizer_of(source: str) -> Any:
    """Pads with another token than the end of the text: the score is read at the last token that is no padding."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    if tokenizer.pad_token in (None, tokenizer.eos_token):
        others = [token for token in reversed(tokenizer.all_special_tokens) if token != tokenizer.eos_token]
        tokenizer.pad_token = others[0] if others else tokenizer.eos_token
    return tokenizer


def model_of(settings: Settings) -> Any:
    """The base model with a new scalar output. A frozen one is in bfloat16 and gets no gradient, which is faster."""
    from transformers import AutoModelForSequenceClassification, set_seed

    set_seed(settings.seed)  # of the new output
    frozen = settings.part == FROZEN
    dtype = torch.bfloat16 if frozen and settings.bf16 else torch.float32
    model: Any = AutoModelForSequenceClassification.from_pretrained(settings.model, num_labels=1, dtype=dtype)
    if frozen:
        model.requires_grad_(False)
        model.score.float().requires_grad_(True)
    return model


def lora() -> Any:
    from peft import LoraConfig, TaskType

    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=16,
        lora_alpha=32,
        target_modules="all-linear",
        modules_to_save=["score"],  # the output is new, so adapters alone would leave it random
    )


def load(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a trained folder, whole or as adapters of its base model."""
    import peft
    import transformers

    adapters = (folder / "adapter_config.json").exists()
    kind: Any = peft.AutoPeftModelForSequenceClassification
    if not adapters:
        kind = transformers.AutoModelForSequenceClassification
    model: Any = kind.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    tokenizer = tokenizer_of(str(folder))
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model.eval().to(torch.accelerator.current_accelerator() or "cpu"), tokenizer


def scores(
    model: Any, tokenizer: Any, texts: Sequence[Text], longest: int, tell: Progress
) -> Iterator[tuple[str, float]]:
    """(id, score) of each text, shortest first. A text of more than `longest` tokens loses its beginning."""
    tokenizer.truncation_side = "left"
    waiting = sorted(texts, key=lambda text: len(text.question + text.answer + text.explanation))
    for start in range(0, len(waiting), SCORE_BATCH):
        tell("scoring", start / len(waiting))
        some = waiting[start : start + SCORE_BATCH]
        written = [f"{context(text)} {text.explanation.strip()}{tokenizer.eos_token}" for text in some]
        batch = tokenizer(written, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.inference_mode():
            found = model(**batch.to(model.device)).logits[:, 0].float().tolist()
        yield from zip((text.id for text in some), found, strict=True)
    tell("scoring", 1.0)
